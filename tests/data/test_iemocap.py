"""IEMOCAP features per fold: splits, normalization, class order, and everything broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.published.iemocap import CLASSES, COUNTS, check_classes, read_iemocap

from .published_files import write_iemocap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_iemocap(tmp_path / "IEMOCAP features")


def refusal(root: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        read_iemocap(root, **settings)
    return str(error.value)


def stored(path: Path, name: str) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.asarray(file[name])


def test_parts_classes_and_features_of_a_fold(root: Path) -> None:
    found = read_iemocap(root, fold=2)
    assert (found.name, found.task, found.classes) == (
        "IEMOCAP, fold 2",
        "classification",
        ["angry", "happy", "neutral", "sad"],
    )
    held = [row for row in found.rows if row["split"] != "train"]
    assert {row["id"][:5] for row in held} == {"Ses02"} and len(held) == 8
    assert len(found.rows) == 24
    assert [row["label"] for row in found.rows[:4]] == list(CLASSES)
    text = dict(found.modalities["text"].read())
    name = found.rows[3]["id"]
    np.testing.assert_array_equal(text[name], stored(root / "L" / "bert_large.h5", name))
    assert list(text) == [row["id"] for row in found.rows]
    assert {name: m.width for name, m in found.modalities.items()} == {
        "text": 6,
        "audio": 7,
        "vision": 5,
    }


def test_audio_is_normalized_with_the_statistics_of_the_fold(root: Path) -> None:
    found = read_iemocap(root, fold=2)
    name, array = next(iter(found.modalities["audio"].read()))
    raw = stored(root / "A" / "comparE.h5", name)
    expected = (raw - 2.0) / np.array([2.0] * 6 + [1.0])  # a deviation of 0 divides by 1
    np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)
    assert "audio: normalized with fold 2 of comparE_mean_std.h5" in found.notes


@pytest.mark.parametrize("missing", ["file", "fold"])
def test_without_statistics_those_of_the_training_part_are_used(missing: str, root: Path) -> None:
    if missing == "file":
        (root / "A" / "comparE_mean_std.h5").unlink()
    else:
        with h5py.File(root / "A" / "comparE_mean_std.h5", "a") as file:
            del file["1"]
    found = read_iemocap(root)
    arrays = dict(found.modalities["audio"].read())
    training = [arrays[row["id"]] for row in found.rows if row["split"] == "train"]
    steps = np.concatenate(training).astype(np.float64)
    np.testing.assert_allclose(steps.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(steps.std(0), 1, atol=1e-5)
    assert any("training part" in note for note in found.notes if note.startswith("audio"))


def test_zero_steps_at_the_end_of_faces_are_padding(root: Path) -> None:
    found = read_iemocap(root)
    raw = stored(root / "V" / "denseface.h5", found.rows[0]["id"])
    _, array = next(iter(found.modalities["vision"].read()))
    np.testing.assert_array_equal(array, raw[:-1])
    assert found.modalities["vision"].lengths[0] == len(raw) - 1
    assert "vision: zero steps at the end taken off 24 of 24 (100.0 %) samples" in found.notes


def test_pooled_features_are_one_step(root: Path) -> None:
    with h5py.File(root / "L" / "pooled.h5", "w") as file:
        for row in read_iemocap(root).rows:
            file[row["id"]] = np.arange(1.0, 9.0)
    found = read_iemocap(root, text="pooled")
    assert found.modalities["text"].lengths == [1] * 24
    assert next(iter(found.modalities["text"].read()))[1].shape == (1, 8)


def test_groups_are_sessions_or_else_speakers(root: Path) -> None:
    found = read_iemocap(root)
    assert {row["group"] for row in found.rows if row["split"] == "test"} == {"Ses01-M"}
    assert any("share sessions but no speakers" in note for note in found.notes)
    _save(root, "val", np.eye(4), [f"Ses04F_impro01_F00{n}" for n in range(4)])
    for letter, name in (("A", "comparE"), ("V", "denseface"), ("L", "bert_large")):
        with h5py.File(root / letter / f"{name}.h5", "a") as file:
            for n in range(4):
                file[f"Ses04F_impro01_F00{n}"] = file["Ses01M_impro01_F001"][()]
    found = read_iemocap(root)
    assert {row["group"] for row in found.rows if row["split"] == "test"} == {"Ses01"}


def test_numbers_of_utterances_prove_the_order_of_classes(root: Path) -> None:
    assert any("cannot be checked" in note for note in read_iemocap(root).notes)
    assert sum(COUNTS.values()) == 5531
    order = ["sad", "angry", "happy", "neutral"]
    wrong = dict(zip(CLASSES, (COUNTS[name] for name in order), strict=True))
    rows = [{"label": name} for name, count in wrong.items() for _ in range(count)]
    with pytest.raises(InputError) as error:
        check_classes(rows, CLASSES, "target/1")
    assert "angry, happy, neutral, sad, but by their numbers of utterances" in str(error.value)
    assert "use --classes sad angry happy neutral" in str(error.value)
    rows = [{"label": name} for name, count in COUNTS.items() for _ in range(count)]
    (note,) = check_classes(rows, order, "target/1")
    assert "as many utterances as sad, angry, happy, neutral" in note


def _save(root: Path, part: str, labels: np.ndarray, names: list[Any]) -> None:
    folder = root / "target" / "1"
    np.save(folder / f"{part}_label.npy", labels)
    np.save(folder / f"{part}_int2name.npy", np.array([[name] for name in names], dtype="S"))


def test_missing_folders_folds_and_files(root: Path) -> None:
    assert "has no folder A, V, L, target" in refusal(root.parent)
    assert f"did you mean {root}?" in refusal(root.parent)
    assert "has no fold '7'; there are 1, 2: choose one with --fold" in refusal(root, fold=7)
    assert "there is no file" in refusal(root, audio="wav2vec") and "wav2vec.h5" in refusal(
        root, audio="wav2vec"
    )
    (root / "target" / "1" / "val_label.npy").unlink()
    assert "val_label.npy; expected an array of NumPy" in refusal(root)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.eye(4)[:3], "trn_int2name.npy has 16 names, trn_label.npy 3 labels"),
        (np.ones((16, 4)), "16 rows do not have a single 1"),
        (np.tile(np.eye(5), (4, 1))[:16], "has 5 columns; expected 4, one per class"),
        (np.arange(16), "expected one-hot labels (N, 4), or class numbers below 4"),
        (np.full((16, 4), "1"), "type <U1; expected one-hot labels (N, 4), or class numbers"),
        (np.tile(np.eye(4)[:2], (8, 1)), ""),
        (np.array([{"a": 1}] * 16, dtype=object), "is no plain array, or holds Python objects"),
    ],
)
def test_broken_labels(labels: np.ndarray, words: str, root: Path) -> None:
    np.save(root / "target" / "1" / "trn_label.npy", labels, allow_pickle=True)
    if words:
        assert words in refusal(root)
    else:
        assert {row["label"] for row in read_iemocap(root).rows[:16]} == {"angry", "happy"}


def test_class_numbers_and_a_missing_class(root: Path) -> None:
    np.save(root / "target" / "1" / "trn_label.npy", np.tile(np.arange(4), 4))
    assert [row["label"] for row in read_iemocap(root).rows[:4]] == list(CLASSES)
    for part in ("trn", "val", "tst"):
        names = np.load(root / "target" / "1" / f"{part}_int2name.npy")
        np.save(root / "target" / "1" / f"{part}_label.npy", np.arange(len(names)) % 3)
    assert "no utterance is sad; expected all classes" in refusal(root)


def test_an_utterance_in_two_parts_and_names_of_another_type(root: Path) -> None:
    folder = root / "target" / "1"
    shutil.copy(folder / "tst_int2name.npy", folder / "val_int2name.npy")
    assert "4 utterances come more than once in trn, val and tst: Ses01" in refusal(root)
    np.save(folder / "val_int2name.npy", np.arange(4))
    assert "expected names of shape (N, 1)" in refusal(root)
    np.save(folder / "val_int2name.npy", np.array("Ses01"))
    assert "val_int2name.npy has shape () and type <U5" in refusal(root)
    np.save(folder / "val_int2name.npy", np.array([b"\xff1", b"\xff2", b"\xff3", b"\xff4"]))
    assert "utterances of target are not in it" in refusal(root)
    np.save(folder / "val_int2name.npy", np.zeros((0, 1), dtype="S5"))
    np.save(folder / "val_label.npy", np.zeros((0, 4)))
    assert "val_int2name.npy is empty" in refusal(root)


def test_a_header_that_promises_too_much_is_refused(root: Path) -> None:
    path = root / "target" / "1" / "trn_label.npy"
    path.write_bytes(
        path.read_bytes().replace(b"(16, 4), }" + b" " * 12, b"(160000000000, 4), }  ")
    )
    assert "trn_label.npy is damaged" in refusal(root)


def test_all_broken_features_are_named_at_once(root: Path) -> None:
    names = [row["id"] for row in read_iemocap(root).rows]
    with h5py.File(root / "L" / "bert_large.h5", "a") as file:
        for name in names[:5] + names[6:9]:
            del file[name]
        file[names[6]] = np.full((2, 6), 1e300)
        file[names[7]] = np.array([b"a", b"b"], dtype=h5py.string_dtype())
        file[names[8]] = np.zeros((2, 6), dtype=[("a", "f4")])
        file[names[1]] = np.zeros((0, 6))
        file[names[2]] = np.full((2, 6), np.nan)
        file[names[3]] = np.ones((2, 9))
        file.create_group(names[4])
    with h5py.File(root / "V" / "denseface.h5", "a") as file:
        del file[names[5]]
    message = refusal(root)
    assert "5 problems in the features of IEMOCAP" in message
    assert f"2 utterances of target are not in it: {names[0]}, {names[4]}" in message
    assert f"3 utterances do not have the shape (steps, width): {names[1]} (0, 6)" in message
    assert f"2 utterances hold NaN, infinity or numbers beyond 32 bits: {names[2]}, {names[6]}" in (
        message
    )
    assert f"its features have different widths: 6 ({names[2]}), 9 ({names[3]})" in message
    assert f"denseface.h5: 1 utterances of target are not in it: {names[5]}" in message


def test_damaged_hdf5_and_wrong_statistics(root: Path) -> None:
    with h5py.File(root / "A" / "comparE_mean_std.h5", "a") as file:
        del file["1/mean"]
        file["1/mean"] = np.zeros(3)
    assert "mean has shape (3,), std (7,); expected (7,) and finite" in refusal(root)
    with h5py.File(root / "A" / "comparE_mean_std.h5", "a") as file:
        del file["1/mean"]
        file["1/mean"] = np.array([b"a"], dtype=h5py.string_dtype())
    assert "mean has shape (0,), std (7,); expected (7,) and finite" in refusal(root)
    (root / "A" / "comparE_mean_std.h5").unlink()
    path = root / "V" / "denseface.h5"
    path.write_bytes(path.read_bytes()[:1000])
    assert "denseface.h5 cannot be read as HDF5" in refusal(root)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "denseface.h5 is a Git LFS pointer" in refusal(root)
