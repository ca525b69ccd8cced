"""Feature files: what is written is read, by any process, and damage is found."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.features.file import FeatureFile, write_features

from .feature_sets import sequences

ABOUT = {"model": "none", "revision": "1"}


def write(path: Path, samples: dict[str, np.ndarray], dtype: str = "float32") -> FeatureFile:
    return write_features(path, samples.items(), about=ABOUT, dtype=dtype)


def both(path: Path) -> tuple[bytes, bytes]:
    """The bytes of a file of vectors and of its index."""
    return path.read_bytes(), path.with_name(f"{path.name}.json").read_bytes()


def test_round_trip(tmp_path: Path) -> None:
    samples = sequences(["-a", "b é", "c"], width=5)
    write(tmp_path / "deep" / "text.npy", samples)
    file = FeatureFile(tmp_path / "deep" / "text.npy")
    assert file.ids == list(samples) and len(file) == 3 and "c" in file and "d" not in file
    assert (file.width, file.about, file.dtype) == (5, ABOUT, np.float32)
    for name, array in samples.items():
        np.testing.assert_array_equal(file.read(name), array)
    file.verify()
    with pytest.raises(KeyError):
        file.read("d")


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    samples = sequences(["a", "b"])
    file = write(tmp_path / "text.npy", samples, "float16")
    assert file.dtype == np.float16 and file.read("a").dtype == np.float32
    np.testing.assert_array_equal(file.read("a"), samples["a"].astype(np.float16))
    file.verify()


def test_same_samples_give_same_bytes(tmp_path: Path) -> None:
    samples = sequences([f"s{number}" for number in range(40)], width=300)
    one, two = (write(tmp_path / name, samples) for name in ("1.npy", "2.npy"))
    assert both(one.path) == both(two.path)
    samples["s3"][0, 0] += 1
    assert write(tmp_path / "3.npy", samples).checksum != one.checksum


def test_what_is_read_is_a_copy(tmp_path: Path) -> None:
    file = write(tmp_path / "text.npy", sequences(["a"]))
    before = file.read("a").copy()
    file.read("a")[:] = 0
    np.testing.assert_array_equal(file.read("a"), before)


def test_a_file_pickles_without_its_values(tmp_path: Path) -> None:
    file = write(tmp_path / "text.npy", {"a": np.ones((500, 50), np.float32)})
    file.read("a")
    assert len(pickle.dumps(file)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(file)).read("a"), file.read("a"))


def read_many(file: FeatureFile, names: list[str]) -> float:
    return float(sum(file.read(name).astype(float).sum() for name in names))


def test_forked_and_spawned_processes_read_at_once(tmp_path: Path) -> None:
    samples = sequences([f"s{number}" for number in range(200)], width=64)
    file = write(tmp_path / "text.npy", samples)
    expected = read_many(file, file.ids)  # the file is mapped before the fork
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


def test_vectors_are_an_array_of_numpy(tmp_path: Path) -> None:
    """Anyone can read them, without this project."""
    samples = sequences(["a", "b"])
    path = write(tmp_path / "text.npy", samples).path
    np.testing.assert_array_equal(np.load(path), np.concatenate(list(samples.values())))
    index = json.loads((tmp_path / "text.npy.json").read_text())
    assert index["ids"] == ["a", "b"] and index["about"] == ABOUT
    assert index["lengths"] == [len(array) for array in samples.values()]


def test_a_changed_value_is_found(tmp_path: Path) -> None:
    file = write(tmp_path / "text.npy", sequences(["a", "b"]))
    np.load(file.path, mmap_mode="r+")[0, 0] = 7.5
    with pytest.raises(InputError, match=r"text.npy is damaged: its checksum is .*…, written was"):
        FeatureFile(file.path).verify()


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "text.npy", sequences(["a", "b"], width=50)).path
    content = whole.read_bytes()
    with pytest.raises(InputError, match="there are no features in .*no.npy: no such file no.npy"):
        FeatureFile(tmp_path / "no.npy")
    with pytest.raises(InputError, match="is a folder; expected a file of features"):
        FeatureFile(tmp_path)
    objects = io.BytesIO()
    np.save(objects, np.array([{}]), allow_pickle=True)
    for bad in (
        content[: len(content) // 2],
        content[:40],
        b"id,value\n1,2\n",
        b"",
        content.replace(b"50)", b"-5)"),
        objects.getvalue(),
        pickle.dumps([1]),
    ):
        whole.write_bytes(bad)
        with pytest.raises(InputError, match="text.npy cannot be read as an array of NumPy .* or"):
            FeatureFile(whole)
    (tmp_path / "text.npy.json").unlink()
    with pytest.raises(InputError, match="no such file text.npy.json; extract them, or copy both"):
        FeatureFile(whole)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((5, 3)), r"2 ids \(2 different\), 2 lengths that add up to 6, 5 vectors"),
        (np.ones((6, 3), int), r"text.npy holds int64 of shape \(6, 3\); expected float32 or"),
        (np.ones((6, 3), bool), "text.npy holds bool of shape"),
        (np.ones((6, 3), complex), "text.npy holds complex128 of shape"),
        (np.zeros((6, 3), [("a", "f4")]), "text.npy holds "),
        (np.ones(6), r"text.npy holds float64 of shape \(6,\); expected .* shape .steps, width"),
    ],
)
def test_other_values_are_refused(values: np.ndarray, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "text.npy", {"a": np.ones((2, 3)), "b": np.ones((4, 3))}).path
    np.save(path, values)
    with pytest.raises(InputError, match=message):
        FeatureFile(path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("ids", ["a", "a"], r"2 ids \(1 different\)"),
        ("ids", ["a"], "1 ids .* 2 lengths"),
        ("ids", [1, 2], "text.npy.json: ids is no list of texts with at least one"),
        ("ids", [], "ids is no list of texts with at least one: copy or extract it again"),
        ("lengths", [1, 1], "add up to 2"),
        ("lengths", [-1, 7], "is inconsistent: 2 ids"),
        ("lengths", [0, 6], "is inconsistent: 2 ids"),
        ("lengths", [1.0, 5.0], "lengths is no list of whole numbers"),
        ("lengths", [True, 5], "lengths is no list of whole numbers"),
        ("lengths", "26", "lengths is no list of whole numbers"),
        # Their sum is 6, were it not for overflow.
        ("lengths", [2**63 + 3, 2**63 + 3], "lengths is no list of whole numbers"),
        ("checksum", None, "checksum is no text"),
        ("about", [1], "about is no table of names and values"),
        ("format", "other", "is no index of features .'cggm features 2'.: write it with cggm"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(
    part: str, value: object, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "text.npy", {"a": np.ones((2, 3)), "b": np.ones((4, 3))}).path
    index = tmp_path / "text.npy.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {part: value}))
    with pytest.raises(InputError, match=message) as error:
        FeatureFile(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, "[]", '"x"'])
def test_an_index_that_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "text.npy", sequences(["a"])).path
    (tmp_path / "text.npy.json").write_text(text)
    with pytest.raises(InputError, match="text.npy.json (cannot be read as JSON|is no index of)"):
        FeatureFile(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 3), np.nan), "text.npy: the features of b hold NaN"),
        (np.full((2, 3), np.inf), "the features of b hold infinite values"),
        (np.full((2, 3), 1e39), "text.npy as float32: the features of b hold infinite values"),
        (np.ones((2, 4)), "the features of b are 4 wide, the others 3"),
        (np.ones(3), r"the features of b have shape \(3,\); expected \(steps, width\)"),
        (np.ones((0, 3)), r"the features of b have shape \(0, 3\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_unusable_features_leave_the_old_file(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "text.npy"
    write(path, sequences(["old"]))
    before = both(path)
    with pytest.raises(InputError, match=message):
        write(path, {"a": np.ones((1, 3)), "b": array})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["text.npy", "text.npy.json"]
    assert both(path) == before


def test_doubled_ids_and_no_samples_are_refused(tmp_path: Path) -> None:
    pairs = [("a", np.ones((1, 3))), ("b", np.ones((1, 3))), ("a", np.ones((2, 3)))]
    with pytest.raises(InputError, match="text.npy: the id 'a' comes twice; ids must be unique"):
        write_features(tmp_path / "text.npy", pairs, about={})
    with pytest.raises(InputError, match="text.npy: there is no sample to write"):
        write_features(tmp_path / "text.npy", [], about={})
    assert not list(tmp_path.iterdir())


def write_on_full_disks(path: Path, limits: Iterable[int]) -> None:
    """A limit on the size of files stands for a disk that fills up."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
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


@pytest.mark.parametrize("limits", [range(0, 12_000, 1200), [300_000, 1_000_000]])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, limits: Sequence[int]) -> None:
    path = tmp_path / "text.npy"
    write(path, sequences(["old"]))
    before = both(path)
    process = multiprocessing.get_context("fork").Process(
        target=write_on_full_disks, args=(path, limits)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    messages = (tmp_path / "messages").read_text().splitlines()
    sentence = f"{path} cannot be written (File too large); the previous file is kept"
    assert messages == [sentence] * len(limits)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "errors",
        "messages",
        "text.npy",
        "text.npy.json",
    ]
    assert both(path) == before and not (tmp_path / "errors").read_bytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_are_refused_where_they_are_read(
    bad: float, tmp_path: Path
) -> None:
    """As another program may write them; ours refuses to."""
    path = write(tmp_path / "text.npy", {"a": np.ones((2, 3)), "b": np.ones((1, 3))}).path
    values = np.ones((3, 3))
    values[2, 1] = bad
    np.save(path, values)
    file = FeatureFile(path)
    assert file.read("a").all()
    with pytest.raises(InputError, match="text.npy: the features of b hold NaN or infinite values"):
        file.read("b")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="text.npy.json cannot be written .*choose another"):
        write(tmp_path / "file" / "text.npy", sequences(["a"]))
