"""Which cases a run uses, and the cache that they are kept in."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from cggm.data.brats import embedded
from cggm.data.brats.cases import SEQUENCES
from cggm.data.brats.embedded import (
    SYNTHETIC,
    cases_to_segment,
    data_name,
    describe_split,
    open_cases,
    open_split,
    open_store,
)
from cggm.data.cache import default_cache
from cggm.data.errors import InputError
from cggm.data.phantom import generate
from cggm.data.phantom.cases import GENERATOR_VERSION

from .brains import brain_cases
from .conftest import NiftiCaseWriter

FORK = multiprocessing.get_context("fork")  # a process that need not import everything again


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CGGM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "cggm"
    monkeypatch.setenv("CGGM_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("CGGM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "cggm"


def test_open_cases_of_a_folder(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data", 3)
    assert open_cases(tmp_path / "data", cache_dir=tmp_path / "cache") == cases
    assert not (tmp_path / "cache").exists(), "a folder of the user needs no cache"
    (flair,) = {tuple(case.images) for case in open_cases(tmp_path / "data", sequences=["flair"])}
    assert flair == ("flair",)
    with pytest.raises(InputError, match="does not exist"):
        open_cases(tmp_path / "nowhere")


def test_open_cases_without_a_folder_makes_the_embedded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Coarse ones, made beforehand: the bundle's own are finer and take longer.
    folder = generate(tmp_path / f"phantom-{GENERATOR_VERSION}", cases=1, spacing=4.0, workers=1)
    with pytest.raises(InputError, match="made with spacing 4.0, but spacing 2.0 is asked for"):
        open_cases(None, cache_dir=tmp_path, embedded_cases=1)
    monkeypatch.setattr(embedded, "generate", lambda *_, **__: folder)
    # The settings of another layout do not concern the embedded cases.
    (case,) = open_cases(None, cache_dir=tmp_path, layout="msd", label_convention="msd")
    assert (case.name, case.layout, case.convention) == ("Phantom_00000", "brats2018", "brats2021")


def test_a_store_belongs_to_its_folder_and_sequences(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data")
    store = open_store(cases, cache_dir=tmp_path / "cache")
    assert store.cases == ["P0", "P1"]
    assert store.folder.parent == tmp_path / "cache" / "slices"
    assert store.folder.name.startswith("data-")
    assert open_store(cases, cache_dir=tmp_path / "cache").folder == store.folder
    assert open_store(cases[:1], cache_dir=tmp_path / "cache").folder == store.folder
    for others in (
        open_store(cases, sequences=["t1"], cache_dir=tmp_path / "cache"),
        open_store(brain_cases(tmp_path / "b" / "data"), cache_dir=tmp_path / "cache"),
    ):
        assert others.folder != store.folder
    assert store.load("P0").sequences == SEQUENCES


def test_a_flat_folder_has_a_store_of_its_own(tmp_path: Path) -> None:
    """Case files side by side in one folder, which is then the folder that counts."""
    for folder in ("a", "b"):
        for case in brain_cases(tmp_path / folder / "cases"):
            for source in [*case.images.values(), case.label]:
                assert source is not None
                source.path.rename(tmp_path / folder / source.path.name)
    names = {
        open_store(open_cases(tmp_path / folder), cache_dir=tmp_path / "cache").folder.name
        for folder in ("a", "b")
    }
    assert sorted(name[:2] for name in names) == ["a-", "b-"]


def test_a_cache_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data")
    (tmp_path / "file").touch()
    words = "cannot be written .*: pass another one with --cache_dir, or set .* CGGM_CACHE"
    for cache in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/self/cache")):
        with pytest.raises(InputError, match=words):
            open_store(cases, cache_dir=cache)
        with pytest.raises(InputError, match=words):
            open_cases(None, cache_dir=cache)


def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data", 3)
    queue = FORK.Queue()

    def build() -> None:
        store = open_store(cases, cache_dir=tmp_path / "cache")
        times = [
            path.stat().st_mtime_ns
            for name in store.cases
            for path in sorted(store.load(name).folder.iterdir())
        ]
        queue.put((str(store.folder), times))

    processes = [FORK.Process(target=build) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = (queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert first == second, "the second process found the cases of the first"
    assert not list(Path(first[0]).glob(".building-*"))


def test_cases_to_segment_by_layout(
    tmp_path: Path, nifti_cases: NiftiCaseWriter, caplog: pytest.LogCaptureFixture
) -> None:
    """Labels are read only where it is known what their values mean."""
    nifti_cases.case(tmp_path / "2018", "P1")
    nifti_cases.case(tmp_path / "2018", "P2", without=["label"])
    first, second = cases_to_segment(tmp_path / "2018", tmp_path / "out")
    assert first.label is not None and second.label is None
    assert first.convention == "brats2021"

    nifti_cases.case(tmp_path / "2023", "P1", layout="brats2023")
    (case,) = cases_to_segment(tmp_path / "2023", tmp_path / "out")
    assert case.label is None and case.convention is None
    (message,) = caplog.messages
    assert "are not compared: label_convention is not given" in message
    (case,) = cases_to_segment(tmp_path / "2023", tmp_path / "out", label_convention="brats2024")
    assert case.label is not None and case.convention == "brats2024"

    nifti_cases.case(tmp_path / "few", "P1", without=["t1", "label"])
    (case,) = cases_to_segment(tmp_path / "few", tmp_path / "out", allow_missing=True)
    assert list(case.images) == ["flair", "t1ce", "t2"]
    with pytest.raises(InputError, match="P1"):
        cases_to_segment(tmp_path / "few", tmp_path / "out")
    assert not (tmp_path / "out").exists(), "a folder of the user is segmented whole, unsplit"


def test_embedded_cases_to_segment_are_those_for_testing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain_cases(tmp_path / "data", 5)
    monkeypatch.setattr(embedded, "generate", lambda *_, **__: tmp_path / "data")
    cases = cases_to_segment(None, tmp_path / "out", cache_dir=tmp_path / "cache")
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert [case.name for case in cases] == split["test"]


def test_open_split_keeps_what_it_drew(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data", 5)
    split = open_split(cases, tmp_path / "out", seed=3)
    assert sorted(name for part in split.values() for name in part) == [c.name for c in cases]
    assert json.loads((tmp_path / "out" / "split.json").read_text())["train"] == split["train"]
    assert open_split(cases, tmp_path / "out", seed=3) == split
    with pytest.raises(InputError, match="seed"):
        open_split(cases, tmp_path / "out", seed=4)
    with pytest.raises(InputError, match="P9"):
        open_split([*cases, replace(cases[0], name="P9")], tmp_path / "out", seed=3)


def test_open_split_takes_a_file_of_folds(tmp_path: Path) -> None:
    cases = brain_cases(tmp_path / "data", 4)
    entries = [
        {"fold": i % 3, "image": [f"TrainingData/{c.name}/{c.name}_flair.nii.gz"], "label": "x"}
        for i, c in enumerate(cases)
    ]
    (tmp_path / "folds.json").write_text(json.dumps({"training": entries}))
    split = open_split(
        cases, tmp_path / "out", split_file=tmp_path / "folds.json", fold=0, test_fold=1
    )
    assert split == {"train": ["P2"], "val": ["P0", "P3"], "test": ["P1"]}
    assert open_split(cases, tmp_path / "out") == split, "evaluation needs not repeat the folds"
    with pytest.raises(InputError, match="was taken from .*folds.json: pass it again"):
        open_split(cases, tmp_path / "out", seed=0)
    with pytest.raises(InputError, match="split.json holds another split than .*folds.json"):
        open_split(cases, tmp_path / "out", split_file=tmp_path / "folds.json", fold=0)
    shared = open_split(cases, tmp_path / "b", split_file=tmp_path / "folds.json", fold=0)
    assert shared["test"] == shared["val"]
    assert open_split(cases, tmp_path / "b") == shared


def test_names_for_logs(tmp_path: Path) -> None:
    assert data_name(None) == f"embedded {SYNTHETIC}"
    assert data_name(Path("my") / "data") == "the folder data"
    (tmp_path / "cases.json").write_text('[{"image": []}]')  # a datalist of somebody's patients
    assert data_name(tmp_path) == f"the folder {tmp_path.name}"
    generate(tmp_path / "made", cases=1, spacing=4.0, workers=1)
    assert data_name(tmp_path / "made") == "synthetic gliomas (no patients) of the folder made"
    assert describe_split({"train": ["a", "b"], "val": [], "test": ["c"]}) == (
        "2 train, 0 val, 1 test"
    )


def test_folds_need_a_file_of_folds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file: pass it with --split_file"):
        open_split(brain_cases(tmp_path / "data", 3), tmp_path, fold=1)
