"""CMU-MOSI pickles of both variants: values, padding, ids and labels, and everything broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.published.mosi import MODALITIES, read_mosi

from .published_files import PARTS, WIDTHS, mosi, write_mosi


def refusal(folder: Path, content: Any, **settings: Any) -> str:
    path = write_mosi(folder / "mosi.pkl", content)
    with pytest.raises(InputError) as error:
        read_mosi(path, **settings)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("style", ["mult", "mmsa"])
def test_values_without_padding(style: str, tmp_path: Path) -> None:
    content = mosi(style=style)
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    assert found.task == "regression" and found.classes is None
    assert {name: modality.width for name, modality in found.modalities.items()} == WIDTHS
    originals = [
        {name: content[part][name][row] for name in MODALITIES}
        for part in PARTS
        for row in range(PARTS[part])
    ]
    for name, modality in found.modalities.items():
        samples = list(modality.read())
        assert [sample for sample, _ in samples] == [row["id"] for row in found.rows]
        for (_, array), original, length in zip(samples, originals, modality.lengths, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, original[name][original[name].any(axis=1)])
            assert len(array) == length < 8
    assert [row["split"] for row in found.rows] == ["train"] * 6 + ["val"] * 3 + ["test"] * 4
    key = "labels" if style == "mult" else "regression_labels"
    labels = np.concatenate([content[part][key].ravel() for part in PARTS])
    np.testing.assert_array_equal([row["label"] for row in found.rows], labels)
    first = "-vid0_0.5_1.5" if style == "mult" else "-vid0_0"
    assert (found.rows[0]["id"], found.rows[0]["group"]) == (first, "-vid0")
    assert found.notes == []


def test_zero_steps_between_others_stay(tmp_path: Path) -> None:
    content = mosi()
    content["train"]["audio"][0] = 0
    content["train"]["audio"][0, [2, 5]] = 1
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    (_, array), *_ = found.modalities["audio"].read()
    assert array[:, 0].tolist() == [1, 0, 0, 1]


def test_values_that_are_not_finite_become_zero_and_are_counted(tmp_path: Path) -> None:
    content = mosi()
    content["train"]["audio"][0, 0, :2] = -np.inf
    content["test"]["audio"][1, 0, 0] = np.nan
    content["train"]["vision"] = content["train"]["vision"].astype(np.float64)
    content["train"]["vision"][2, 0, 1] = 1e300  # infinite in 32 bits
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    assert found.notes == [
        "audio: values that are not finite became 0 in 2 of 13 (15.4 %) samples "
        "(1 NaN, 2 -infinity)",
        "vision: values that are not finite became 0 in 1 of 13 (7.7 %) samples (1 +infinity)",
    ]
    for modality in found.modalities.values():
        assert all(np.isfinite(array).all() for _, array in modality.read())


def test_a_sample_that_is_all_zero_keeps_a_step(tmp_path: Path) -> None:
    content = mosi()
    content["test"]["vision"][0] = 0
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    assert found.modalities["vision"].lengths[9] == 1
    (note,) = found.notes
    assert note.startswith("vision: 1 of 13 (7.7 %) samples are all zero")


def test_aligned_steps_stay_together(tmp_path: Path) -> None:
    content = mosi()
    for name in MODALITIES:
        content["train"][name][0] = 0
        content["train"][name][1] = 0
    content["train"]["text"][0, 3:6] = 1
    content["train"]["audio"][0, 2:4] = 1
    content["train"]["text"][1, 4:6] = 1
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content), padding="together")
    arrays = {name: list(found.modalities[name].read()) for name in MODALITIES}
    assert arrays["text"][0][1][:, 0].tolist() == [0, 1, 1, 1]
    assert arrays["audio"][0][1][:, 0].tolist() == [1, 1, 0, 0]
    assert [len(arrays[name][1][1]) for name in MODALITIES] == [2, 2, 2]
    content["train"]["audio"] = content["train"]["audio"][:, :5]
    message = refusal(tmp_path, content, padding="together")
    assert "is not aligned" in message and "--padding each" in message


def test_lengths_that_do_not_fit_are_not_believed(tmp_path: Path) -> None:
    content = mosi(style="mmsa")
    lengths = content["train"]["audio_lengths"]
    true = list(lengths)
    lengths[0], lengths[1], lengths[2] = 1, 99, true[2] + 1
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    assert found.modalities["audio"].lengths[:3] == [true[0], true[1], true[2] + 1]
    assert "2 of 13 (15.4 %) samples do not fit audio_lengths" in found.notes[0]


def test_ids_are_made_up_or_numbered(tmp_path: Path) -> None:
    content = mosi()
    del content["train"]["id"]
    content["test"]["id"][1] = content["test"]["id"][0]
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    ids = [row["id"] for row in found.rows]
    assert ids[0] == "train-00000" and ids[10] == ids[9] + "-2" and len(set(ids)) == len(ids)
    assert {row["group"] for row in found.rows} == {""}
    assert any("1 ids come more than once" in note for note in found.notes)
    assert any("names no videos" in note for note in found.notes)


def test_a_video_in_two_published_parts_is_said(tmp_path: Path) -> None:
    content = mosi()
    content["test"]["id"][0, :2] = content["train"]["id"][0, 0], b"9.5"
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    (note,) = found.notes
    assert note.startswith("1 videos lie in two published parts") and "-vid0" in note
    assert {row["group"] for row in found.rows} == {""}


def test_another_data_set_of_the_same_form_has_its_own_name(tmp_path: Path) -> None:
    found = read_mosi(write_mosi(tmp_path / "mosei.pkl"), name="CMU-MOSEI")
    assert found.name == "CMU-MOSEI" and found.source.startswith("CMU-MOSEI")
    assert found.settings["name"] == "CMU-MOSEI"


def test_without_validation(tmp_path: Path) -> None:
    content = mosi()
    del content["valid"]
    found = read_mosi(write_mosi(tmp_path / "mosi.pkl", content))
    assert {row["split"] for row in found.rows} == {"train", "test"}
    assert "no validation part" in found.notes[0]


@pytest.mark.parametrize("shape", [(-1, 1, 1), (-1, 1), (-1,)])
def test_shapes_of_labels(shape: tuple[int, ...], tmp_path: Path) -> None:
    content = mosi()
    content["train"]["labels"] = content["train"]["labels"].reshape(shape)
    assert len(read_mosi(write_mosi(tmp_path / "mosi.pkl", content)).rows) == 13


def broken(key: str, value: Any, part: str = "train") -> dict[str, Any]:
    content = mosi()
    content[part][key] = value(content[part][key]) if callable(value) else value
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds list on top; expected a dictionary with train"),
        ({"train": {}, "x": 1}, "has no test part, found train, x"),
        ({"train": [1], "test": [1]}, "part train holds list; expected a dictionary of arrays"),
        ({"train": {"text": 1}, "test": {}}, "has no audio, vision; found text"),
        (broken("text", lambda a: a[:, 0]), "text has shape (6, 6) and type float32"),
        (broken("text", lambda a: a.astype(str)), "text has shape (6, 8, 6) and type"),
        (broken("text", [[1.0], [1.0, 2.0]]), "is no array of numbers in equally long samples"),
        (broken("text", ["x" * 10**6, *"y" * 10**5]), "text is no array of numbers"),
        (broken("labels", [[1.0], [1.0, 2.0]]), "labels is no array of numbers"),
        (broken("audio_lengths", ["x"] * 6), "audio_lengths is no array of numbers"),
        (broken("id", [[]] * 6), "part train: 6 of 6 (100.0 %) ids are empty"),
        (broken("id", 7), "part train: id holds int; expected a list or an array"),
        (broken("audio", lambda a: a[:4]), "6 of text, 4 of audio, 6 of vision, 6 of labels"),
        (broken("vision", lambda a: a[..., :3]), "vision has different widths: 3 in train, 5 in"),
        (broken("labels", lambda a: a + 4), "lie outside of [-3, 3]: sample 0 has"),
        (broken("labels", lambda a: a * np.nan), "6 of 6 (100.0 %) lie outside of [-3, 3]"),
        (broken("labels", lambda a: np.tile(a, 2)), "labels has shape (6, 1, 2)"),
        (broken("id", lambda a: a[:2], "test"), "has 2 ids for 4 samples"),
    ],
)
def test_what_cannot_be_used(content: Any, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path, content)


def test_empty_parts_lengths_and_settings(tmp_path: Path) -> None:
    content = mosi(style="mmsa")
    content["train"]["audio_lengths"] = [1]
    assert "audio_lengths has shape (1,); expected (6,)" in refusal(tmp_path, content)
    content = mosi()
    content["valid"] = {key: value[:0] for key, value in content["valid"].items()}
    assert "part val is empty" in refusal(tmp_path, content)
    with pytest.raises(InputError, match="padding is 'x'; expected one of each, together"):
        read_mosi(tmp_path / "mosi.pkl", padding="x")
