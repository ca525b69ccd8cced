"""Feature files: what is written is read, by any process, and damage is found."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.features import file as features
from cggm.data.features.file import FeatureFile, write_features

from .feature_sets import sequences

ABOUT = {"model": "none", "revision": "1"}
M_PERTURB = -6  # of malloc.h


def write(path: Path, samples: dict[str, np.ndarray], dtype: str = "float32") -> FeatureFile:
    return write_features(path, samples.items(), about=ABOUT, dtype=dtype)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(features, "IN_MEMORY_BYTES", limit)
    samples = sequences(["-a", "b é", "c"], width=5)
    write(tmp_path / "deep" / "text.h5", samples)
    file = FeatureFile(tmp_path / "deep" / "text.h5")
    assert file.ids == list(samples) and len(file) == 3 and "c" in file and "d" not in file
    assert (file.width, file.about, file.dtype) == (5, ABOUT, np.float32)
    for name, array in samples.items():
        np.testing.assert_array_equal(file.read(name), array)
    file.verify()
    with pytest.raises(KeyError):
        file.read("d")


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    samples = sequences(["a", "b"])
    file = write(tmp_path / "text.h5", samples, "float16")
    assert file.dtype == np.float16 and file.read("a").dtype == np.float32
    np.testing.assert_array_equal(file.read("a"), samples["a"].astype(np.float16))
    file.verify()


def test_same_samples_give_same_bytes(tmp_path: Path) -> None:
    samples = sequences([f"s{number}" for number in range(40)], width=300)
    one, two = (write(tmp_path / name, samples) for name in ("1.h5", "2.h5"))
    assert one.path.read_bytes() == two.path.read_bytes()
    samples["s3"][0, 0] += 1
    assert write(tmp_path / "3.h5", samples).checksum != one.checksum


def test_what_is_read_is_a_copy(tmp_path: Path) -> None:
    file = write(tmp_path / "text.h5", sequences(["a"]))
    before = file.read("a").copy()
    file.read("a")[:] = 0
    np.testing.assert_array_equal(file.read("a"), before)


def test_a_file_pickles_without_its_values(tmp_path: Path) -> None:
    file = write(tmp_path / "text.h5", {"a": np.ones((500, 50), np.float32)})
    file.read("a")
    assert len(pickle.dumps(file)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(file)).read("a"), file.read("a"))


def read_many(file: FeatureFile, names: list[str]) -> float:
    return float(sum(file.read(name).astype(float).sum() for name in names))


@pytest.mark.parametrize("limit", [0, 2**30])
def test_forked_and_spawned_processes_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(features, "IN_MEMORY_BYTES", limit)
    samples = sequences([f"s{number}" for number in range(200)], width=64)
    file = write(tmp_path / "text.h5", samples)
    expected = read_many(file, file.ids)  # the handle is open before the fork
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.starmap(read_many, [(file, file.ids)] * 8) == [expected] * 8
    FORKED.append(file)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(read_inherited, range(8)) == [expected] * 8
    assert read_many(file, file.ids) == expected


FORKED: list[FeatureFile] = []


def read_inherited(_: int) -> float:
    """Read from the object the process was born with, not from a pickled copy."""
    return read_many(FORKED[-1], FORKED[-1].ids)


def test_a_changed_value_is_found(tmp_path: Path) -> None:
    file = write(tmp_path / "text.h5", sequences(["a", "b"]))
    with h5py.File(file.path, "r+") as raw:
        values = raw["values"]
        assert isinstance(values, h5py.Dataset)
        values[0, 0] = 7.5
    with pytest.raises(InputError, match=r"text.h5 is damaged: its checksum is .*…, written was"):
        FeatureFile(file.path).verify()


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "text.h5", sequences(["a", "b"], width=50)).path
    content = whole.read_bytes()
    with pytest.raises(InputError, match="there are no features in .*no.h5: no such file"):
        FeatureFile(tmp_path / "no.h5")
    for bad in (content[: len(content) // 2], b"id,value\n1,2\n", b"", b"\x89HDF\r\n\x1a\n" * 100):
        whole.write_bytes(bad)
        with pytest.raises(InputError, match="text.h5 cannot be read as HDF5 .* extract or copy"):
            FeatureFile(whole)
    with h5py.File(whole, "w") as raw:
        raw["values"] = np.ones((3, 2))
    with pytest.raises(InputError, match="text.h5 holds no features of ours"):
        FeatureFile(whole)


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    changes = {
        "ids": (np.array([b"a", b"a"], dtype=h5py.string_dtype()), "2 ids .1 different."),
        "lengths": (np.array([1, 1]), "add up to 2"),
    }
    for name, (value, message) in changes.items():
        write(path, sequences(["a", "b"]))
        with h5py.File(path, "r+") as raw:
            del raw[name]
            raw[name] = value
        with pytest.raises(InputError, match=message):
            FeatureFile(path)
    write(path, sequences(["a", "b"]))
    with h5py.File(path, "r+") as raw:
        del raw.attrs["checksum"]
    with pytest.raises(InputError, match="text.h5 is damaged .*copy or extract it again"):
        FeatureFile(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 3), np.nan), "text.h5: the features of b hold NaN"),
        (np.full((2, 3), np.inf), "the features of b hold infinite values"),
        (np.full((2, 3), 1e39), "text.h5 as float32: the features of b hold infinite values"),
        (np.ones((2, 4)), "the features of b are 4 wide, the others 3"),
        (np.ones(3), r"the features of b have shape \(3,\); expected \(steps, width\)"),
        (np.ones((0, 3)), r"the features of b have shape \(0, 3\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_unusable_features_leave_the_old_file(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "text.h5"
    write(path, sequences(["old"]))
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        write(path, {"a": np.ones((1, 3)), "b": array})
    assert [file.name for file in tmp_path.iterdir()] == ["text.h5"]
    assert path.read_bytes() == before


def test_doubled_ids_and_no_samples_are_refused(tmp_path: Path) -> None:
    pairs = [("a", np.ones((1, 3))), ("b", np.ones((1, 3))), ("a", np.ones((2, 3)))]
    with pytest.raises(InputError, match="text.h5: the id 'a' comes twice; ids must be unique"):
        write_features(tmp_path / "text.h5", pairs, about={})
    with pytest.raises(InputError, match="text.h5: there is no sample to write"):
        write_features(tmp_path / "text.h5", [], about={})
    assert not list(tmp_path.iterdir())


def write_on_full_disks(path: Path, limits: Iterable[int]) -> None:
    """A limit on the size of files stands for a disk that fills up."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with contextlib.suppress(AttributeError):  # glibc alone can fill fresh memory with rubbish
        ctypes.CDLL(None).mallopt(M_PERTURB, 165)
    os.dup2(os.open(path.with_name("errors"), os.O_CREAT | os.O_WRONLY), 2)
    samples, messages = sequences([f"s{number}" for number in range(60)], width=2000), []
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        try:
            write(path, samples)
        except InputError as error:
            messages.append(str(error).partition(": ")[0])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    path.with_name("messages").write_text("\n".join(messages))


# The index is written from 0 to some 10,000, the values come behind it.
@pytest.mark.parametrize("limits", [range(0, 12_000, 120), [300_000, 1_000_000]])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, limits: Sequence[int]) -> None:
    path = tmp_path / "text.h5"
    write(path, sequences(["old"]))
    before = path.read_bytes()
    process = multiprocessing.get_context("fork").Process(
        target=write_on_full_disks, args=(path, limits)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    messages = (tmp_path / "messages").read_text().splitlines()
    assert messages == [f"{path} cannot be written (File too large)"] * len(limits)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["errors", "messages", "text.h5"]
    assert path.read_bytes() == before and not (tmp_path / "errors").read_bytes()


RECORD = np.zeros(2, dtype=[("a", "f4")])
TEXTS = np.array([b"1", b"2"], dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ids", np.array([1, 2]), r"ids holds whole numbers of shape \(2,\); expected texts"),
        ("ids", RECORD, r"ids holds the type .*\('a', '<f4'\).*; expected texts of shape \(N,\)"),
        ("ids", TEXTS[:, None], r"ids holds texts of shape \(2, 1\); expected texts of shape \(N,"),
        ("ids", TEXTS[:0], "ids holds texts of shape .0,.; .* at least one"),
        ("lengths", np.array([1.0, 2.0]), "lengths holds numbers .*; expected whole numbers of"),
        ("lengths", np.array([True, True]), "lengths holds the type bool"),
        ("lengths", TEXTS, "lengths holds texts of shape .2,.; expected whole numbers"),
        ("lengths", np.array([-1, 7]), "is inconsistent: 2 ids"),
        # Their sum is 6, were it not for overflow.
        ("lengths", np.array([2**63 + 3, 2**63 + 3], dtype="u8"), "is inconsistent: 2 ids"),
        ("values", TEXTS, "values holds texts of shape .2,.; expected numbers of shape .steps, wi"),
        ("values", np.ones((6, 3), bool), "values holds the type bool of shape .6, 3.; expected"),
        ("values", np.ones((6, 3), complex), "values holds the type complex128"),
        ("values", np.zeros((6, 3), [("a", "f4")]), "values holds the type"),
        ("values", np.ones(6), r"values holds numbers of shape \(6,\)"),
        ("values", np.ones((6, 0)), r"values holds numbers of shape \(6, 0\); .* at least one"),
        ("values", None, "values is a group; expected numbers: write it again"),
    ],
)
def test_other_types_and_shapes_are_refused(
    name: str, value: np.ndarray | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "text.h5"
    write(path, {"a": np.ones((2, 3)), "b": np.ones((4, 3))})
    with h5py.File(path, "r+") as raw:
        del raw[name]
        if value is None:
            raw.create_group(name)
        else:
            raw[name] = value
    with pytest.raises(InputError, match=message) as error:
        FeatureFile(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_about_is_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "text.h5", sequences(["a"])).path
    for about, message in (("[1]", "about is no table of names"), ("{", "is damaged")):
        with h5py.File(path, "r+") as raw:
            raw.attrs["about"] = about
        with pytest.raises(InputError, match=f"text.h5:? {message}"):
            FeatureFile(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_are_refused_where_they_are_read(
    bad: float, tmp_path: Path
) -> None:
    """As another program may write them; ours refuses to."""
    path = write(tmp_path / "text.h5", {"a": np.ones((2, 3)), "b": np.ones((1, 3))}).path
    values = np.ones((3, 3))
    values[2, 1] = bad
    with h5py.File(path, "r+") as raw:
        del raw["values"]
        raw["values"] = values
    file = FeatureFile(path)
    assert file.read("a").all()
    with pytest.raises(InputError, match="text.h5: the features of b hold NaN or infinite values"):
        file.read("b")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="text.h5 cannot be written .*choose another"):
        write(tmp_path / "file" / "text.h5", sequences(["a"]))
