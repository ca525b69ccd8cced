"""The slice store: equal to the volumes, rebuilt when it must be, never half there."""

import json
import logging
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace
from multiprocessing.context import ForkProcess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm.data.brats import case_folder, conversion
from cggm.data.brats.cases import SEQUENCES, Case, find_cases
from cggm.data.brats.nifti import read_case
from cggm.data.brats.normalization import brain_and_box, normalize
from cggm.data.brats.patches import read_patch
from cggm.data.brats.store import SliceStore
from cggm.data.errors import InputError

from ..children import descendants, left_after
from .brains import brain_cases, write_case

FORK = multiprocessing.get_context("fork")  # a process that need not import everything again


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    return brain_cases(tmp_path / "data")


def build(cases: list[Case], folder: Path) -> SliceStore:
    return SliceStore.build(cases, folder, workers=1, progress=False)


def written(store: SliceStore, case: str) -> int | None:
    """When the images of a case were written, in nanoseconds; None when they are missing."""
    path = store.folder / case / "images.npy"
    return path.stat().st_mtime_ns if path.exists() else None


def rebuilt(cases: list[Case], store: SliceStore) -> list[str]:
    """Build again; name the cases that were written again."""
    before = {case: written(store, case) for case in store.cases}
    again = build(cases, store.folder)
    return [case for case in again.cases if written(store, case) != before[case]]


def test_a_cavity_is_background_until_it_is_a_class(cases: list[Case], tmp_path: Path) -> None:
    """A store that was built without it, also by an earlier version, is built again."""
    for case in cases:
        assert case.label is not None
        image = nib.load(case.label.path)
        values = np.asarray(image.dataobj).copy()
        values[values == 4] = 3
        values[10:13, 8:11, 5:8] = 4
        nib.save(nib.Nifti1Image(values, image.affine), case.label.path)
    without = [replace(case, convention="brats2024") for case in cases]
    store = build(without, tmp_path / "store")
    label = store.load("P0").label
    assert label is not None and set(np.unique(label)) == {0, 1, 2, 3}
    meta = json.loads((store.folder / "P0" / "meta.json").read_text())
    del meta["cavity"]
    (store.folder / "P0" / "meta.json").write_text(json.dumps(meta))
    assert rebuilt(without, store) == [], "an earlier version did not say it"
    assert rebuilt([replace(case, cavity=True) for case in without], store) == ["P0", "P1"]
    stored = store.load("P0")
    assert stored.label is not None and (np.asarray(stored.label) == 4).sum() == 27
    assert stored.class_voxels is not None and stored.class_voxels.shape[1] == 3
    counts = [(np.asarray(stored.label) == number).sum() for number in (1, 2, 3)]
    assert stored.class_voxels.sum(0).tolist() == counts, "tumor alone"
    only = Path(stored.folder / "label.npy")
    label = np.load(only)
    label[:] = 4
    label[:, 0, 0] = 2  # patches lie about this pixel of tumor, whatever the cavity
    np.save(only, label)
    draws = np.random.default_rng(0)
    patches = [read_patch(stored, 3, [0], 8, draws)["label"] for _ in range(9)]
    assert all(patch[0, :, 0, 0].eq(2).all() for patch in patches)


def test_store_holds_the_normalized_volume(cases: list[Case], tmp_path: Path) -> None:
    store = build(cases, tmp_path / "store")
    assert store.cases == ["P0", "P1"]
    for case in cases:
        volume, stored = read_case(case, SEQUENCES), store.load(case.name)
        assert volume.label is not None and stored.label is not None
        assert stored.box == brain_and_box(volume.images, volume.label)[1]
        assert stored.images.shape[:2] == (stored.slices, 4)
        assert stored.images.dtype == np.float16 and stored.label.dtype == np.uint8
        np.testing.assert_array_equal(stored.uncrop(stored.label), volume.label)
        for channel, image in enumerate(normalize(volume.images, SEQUENCES).values()):
            np.testing.assert_allclose(
                stored.uncrop(stored.images[:, channel]), image, rtol=1e-3, atol=1e-3
            )
        np.testing.assert_array_equal(stored.affine, volume.affine)
        assert (
            stored.tumor_slices.tolist()
            == np.flatnonzero((volume.label[stored.box] > 0).any(axis=(0, 1))).tolist()
        )


def test_brain_has_mean_0_and_deviation_1_and_the_rest_is_0(cases: list[Case]) -> None:
    volume = read_case(cases[0], SEQUENCES)
    for name, image in normalize(volume.images, SEQUENCES).items():
        brain = volume.images[name] != 0
        assert abs(image[brain].mean()) < 1e-4 and abs(image[brain].std() - 1) < 1e-4
        assert not image[~brain].any()


def test_box_holds_a_label_outside_the_brain() -> None:
    image, label = np.zeros((5, 6, 7), np.float32), np.zeros((5, 6, 7), np.uint8)
    image[2, 3, 4], label[4, 0, 6] = 1, 1
    assert brain_and_box({"t1": image})[1] == (slice(2, 3), slice(3, 4), slice(4, 5))
    assert brain_and_box({"t1": image}, label)[1] == (slice(2, 5), slice(0, 4), slice(4, 7))
    with pytest.raises(InputError, match="no brain to find"):
        brain_and_box({"t1": label.astype(np.float32) * 0})


def test_z_scores_of_known_statistics() -> None:
    """Mean 5, deviation 2 over the brain, in double precision; the images stay as they were."""
    image = np.zeros((4, 5, 6), np.float32)
    image[1:3, 1:3, 1:3] = np.array([2, 4, 4, 4, 5, 5, 7, 9], np.float32).reshape(2, 2, 2)
    expected = np.where(image != 0, (image - 5) / 2, 0).astype(np.float32)
    kept = image.copy()
    scores = normalize({"t1": image, "t2": 1000 * image}, ["t2", "t1"])
    assert list(scores) == ["t2", "t1"]
    np.testing.assert_array_equal(scores["t1"], expected)
    np.testing.assert_allclose(scores["t2"], expected, rtol=1e-6)
    np.testing.assert_array_equal(image, kept)


def test_image_without_contrast_is_refused() -> None:
    with pytest.raises(InputError, match="t2: all 8 voxels are 0"):
        normalize({"t2": np.zeros((2, 2, 2), np.float32)}, ["t2"])
    with pytest.raises(InputError, match="t2: all 8 non-zero voxels have the value 7"):
        normalize({"t2": np.full((2, 2, 2), 7, np.float32)}, ["t2"])


def test_what_is_up_to_date_is_not_written_again(cases: list[Case], tmp_path: Path) -> None:
    store = build(cases, tmp_path / "store")
    assert rebuilt(cases, store) == []
    start = time.perf_counter()
    build(cases, store.folder)
    assert time.perf_counter() - start < 0.25


def test_touched_file_is_recognized_by_its_contents(cases: list[Case], tmp_path: Path) -> None:
    store = build(cases, tmp_path / "store")
    os.utime(cases[0].images["t1"].path, ns=(1, 1))
    assert rebuilt(cases, store) == []
    meta = json.loads((store.folder / "P0" / "meta.json").read_text())
    assert meta["sources"]["t1"]["mtime_ns"] == 1


@pytest.mark.parametrize("what", ["t2", "seg"])
def test_changed_file_is_converted_again(cases: list[Case], tmp_path: Path, what: str) -> None:
    store = build(cases, tmp_path / "store")
    path = tmp_path / f"data/P1/P1_{what}.nii.gz"
    image = nib.load(path)
    array = np.asarray(image.dataobj).copy()
    array[12, 14, 6] = 2
    nib.save(nib.Nifti1Image(array, image.affine), path)
    assert rebuilt(cases, store) == ["P1"]
    volume, stored = read_case(cases[1], SEQUENCES), store.load("P1")
    assert stored.label is not None
    np.testing.assert_array_equal(stored.uncrop(stored.label), volume.label)


@pytest.mark.parametrize("damage", ["truncated", "missing", "no meta", "meta", "version"])
def test_damaged_case_is_refused_then_converted_again(
    cases: list[Case], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = build(cases, tmp_path / "store")
    images, meta = store.folder / "P0/images.npy", store.folder / "P0/meta.json"
    if damage == "truncated":
        os.truncate(images, images.stat().st_size - 2)
    elif damage == "missing":
        images.unlink()
    elif damage == "no meta":
        meta.unlink()
    elif damage == "meta":
        meta.write_text("{")
    else:
        meta.write_text(json.dumps(json.loads(meta.read_text()) | {"version": 0}))
    if damage != "version":
        with pytest.raises(InputError, match="P0.*build the slice store again to repair it"):
            store.load("P0")
    with caplog.at_level(logging.WARNING):
        assert rebuilt(cases, store) == ["P0"]
    assert "P0 is converted again" in caplog.text
    store.load("P0")


def test_other_sequences_or_convention_are_converted_again(
    cases: list[Case], tmp_path: Path
) -> None:
    store = build(cases, tmp_path / "store")
    two = SliceStore.build(cases[:1], store.folder, sequences=("t2", "t1"), workers=1)
    assert two.load("P0").sequences == ("t2", "t1")
    assert two.load("P0").images.shape[1] == 2
    build(cases, store.folder)
    other = [replace(case, convention="brats2024") for case in cases]
    for case in other:
        assert "convention" in str(
            case_folder.stale_reason(case, store.folder / case.name, SEQUENCES)
        )


def test_every_broken_case_is_named_and_the_others_are_converted(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data", 3)
    os.truncate(cases[0].images["t1"].path, 100)
    os.truncate(cases[2].images["t2"].path, 100)
    with pytest.raises(InputError) as error:
        build(cases, tmp_path / "store")
    message = str(error.value)
    assert message.startswith("2 of 3 cases cannot be used: ")
    assert "P0_t1.nii.gz" in message
    assert "P2_t2.nii.gz" in message
    assert SliceStore(tmp_path / "store").cases == ["P1"]


def test_a_sequence_that_a_case_lacks_is_zeros_until_its_file_comes(tmp_path: Path) -> None:
    complete, other = brain_cases(tmp_path / "data", 2)
    few = {name: complete.images[name] for name in ("flair", "t1", "t2")}
    store = build([replace(complete, images=few), other], tmp_path / "store")
    stored = store.load("P0")
    assert stored.present == ("flair", "t1", "t2") and store.load("P1").present == SEQUENCES
    shares = store.absent_shares(["P0", "P1"])
    assert shares == {"flair": 0, "t1": 0, "t1ce": 0.5, "t2": 0}
    absent = SEQUENCES.index("t1ce")
    assert [bool(stored.images[:, i].any()) for i in range(4)] == [i != absent for i in range(4)]
    assert build([complete, other], tmp_path / "store").load("P0").present == SEQUENCES


def test_case_without_label_is_stored(cases: list[Case], tmp_path: Path) -> None:
    stored = build([replace(cases[0], label=None)], tmp_path / "store").load("P0")
    assert stored.label is None and stored.class_voxels is None and stored.tumor_slices.size == 0


def test_folder_of_data_is_never_taken_for_a_store(cases: list[Case], tmp_path: Path) -> None:
    before = sorted((tmp_path / "data").rglob("*"))
    with pytest.raises(InputError, match="P0_flair.nii.gz and so is no part of a slice store"):
        build(cases, tmp_path / "data")
    assert sorted((tmp_path / "data").rglob("*")) == before


def test_unwritable_and_full_disks_are_refused(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be created.*choose another folder"):
        build(cases, tmp_path / "file")
    monkeypatch.setattr(conversion, "_BOX_SHARE", 1e12)
    with pytest.raises(InputError, match="needs about .* GB for 2 cases, but only"):
        build(cases, tmp_path / "store")


def build_on_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that fills up."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
    try:
        build(find_cases(tmp_path / "data"), tmp_path / "store")
    except InputError as error:
        (tmp_path / "message").write_text(str(error))


def test_write_that_fails_halfway_leaves_nothing(cases: list[Case], tmp_path: Path) -> None:
    process = FORK.Process(target=build_on_full_disk, args=(tmp_path,))
    process.start()
    process.join()
    message = (tmp_path / "message").read_text()
    assert "store/P0 cannot be written (File too large): choose another output folder" in message
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("name", ["..", "a/b", ".hidden"])
def test_unsafe_and_repeated_names_are_refused(
    cases: list[Case], tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        build([replace(cases[0], name=name)], tmp_path / "store")
    with pytest.raises(InputError, match="two cases are called 'P0'"):
        build([cases[0], cases[0]], tmp_path / "store")


def test_unknown_case_and_empty_store_are_refused(cases: list[Case], tmp_path: Path) -> None:
    store = build(cases, tmp_path / "store")
    with pytest.raises(InputError, match="no case 'P9' .* it holds 2 cases: P0, P1"):
        store.load("P9")
    with pytest.raises(InputError, match="no converted case in .*; build the slice store first"):
        SliceStore(tmp_path)


def test_store_pickles_without_its_images(cases: list[Case], tmp_path: Path) -> None:
    store = build(cases, tmp_path / "store")
    stored = store.load("P0")
    assert len(pickle.dumps(stored)) < 4000
    again = pickle.loads(pickle.dumps(stored))
    np.testing.assert_array_equal(again.images, stored.images)


def start_build(tmp_path: Path, workers: int) -> ForkProcess:
    """Build in a process of its own, as a second user of the same store would."""
    process = FORK.Process(target=build_found, args=(tmp_path, workers))
    process.start()
    return process


def build_found(tmp_path: Path, workers: int) -> None:
    cases = find_cases(tmp_path / "data")
    SliceStore.build(cases, tmp_path / "store", workers=workers, progress=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_build_leaves_whole_cases_only(tmp_path: Path, workers: int) -> None:
    for number in range(30):
        write_case(tmp_path / "data", f"P{number:02}", number)
    process = start_build(tmp_path, workers)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("store/P*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    workers_at_work = descendants(process.pid or 0)
    process.kill()
    process.join()
    assert not left_after(60, workers_at_work)  # they end by themselves
    kept = SliceStore(tmp_path / "store")
    assert 0 < len(kept.cases) < 30
    for name in kept.cases:
        kept.load(name)
    store = build(find_cases(tmp_path / "data"), tmp_path / "store")
    assert sorted(path.name for path in store.folder.iterdir()) == store.cases
    assert len(store.cases) == 30


def test_two_processes_may_build_at_once(tmp_path: Path) -> None:
    for number in range(8):
        write_case(tmp_path / "data", f"P{number}", number)
    processes = [start_build(tmp_path, 1) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    store = SliceStore(tmp_path / "store")
    assert sorted(path.name for path in store.folder.iterdir()) == store.cases
    assert len(store.cases) == 8
    for name in store.cases:
        store.load(name)


def test_two_processes_may_replace_an_outdated_case_at_once(
    cases: list[Case], tmp_path: Path
) -> None:
    """The slower one finds the place taken by a good folder and discards its own."""
    store = build(cases, tmp_path / "store")
    os.truncate(store.folder / "P0/images.npy", 10)
    assert case_folder.convert_case(cases[0], store.folder, SEQUENCES) is None
    winner = written(store, "P0")
    assert case_folder.convert_case(cases[0], store.folder, SEQUENCES) is None
    assert written(store, "P0") == winner
    assert sorted(path.name for path in store.folder.iterdir()) == ["P0", "P1"]


def test_parallel_build_equals_serial_build(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data", 3)
    one = build(cases, tmp_path / "one")
    two = SliceStore.build(cases, tmp_path / "two", workers=2, progress=False)
    for name in one.cases:
        np.testing.assert_array_equal(one.load(name).images, two.load(name).images)
