"""Does a pickle give its arrays, and anything that is no whole pickle one sentence?"""

from __future__ import annotations

import collections
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.published.pickles import read_arrays

from .pickled import refusal, written

CONTENT = {
    "train": {
        "text": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "swapped": np.arange(3, dtype=">i2"),
        "id": np.array([[b"abc", b"1.5"], [b"d", b"2"]]),
        "names": np.array(["a", "Zürich"]),
        "objects": np.array(["a", "long"], dtype=object),
        "flags": np.array([True, False]),
        "length": [np.int64(3), np.float32(0.5), 7, None, True, b"x"],
    },
    "meta": collections.OrderedDict(a=(1, frozenset({2}), {3})),
}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_values_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    found = read_arrays(written(tmp_path, CONTENT, protocol))
    assert list(found) == ["train", "meta"]
    assert found["meta"] == {"a": (1, frozenset({2}), {3})}
    assert found["train"].pop("length") == CONTENT["train"]["length"]
    for key, array in found["train"].items():
        np.testing.assert_array_equal(array, CONTENT["train"][key])
        assert array.dtype.kind == CONTENT["train"][key].dtype.kind


def test_an_empty_array(tmp_path: Path) -> None:
    assert read_arrays(written(tmp_path, np.zeros((0, 3)))).shape == (0, 3)


def test_shared_and_repeated_parts_are_read_once(tmp_path: Path) -> None:
    array = np.ones(3)
    found = read_arrays(written(tmp_path, [array, {"again": array}]))
    assert found[0] is found[1]["again"]


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    # Written by NumPy on Python 2.7: pickle.dump({'a': np.array([1.5, -2.0])}, file, 2)
    data = struct.pack("<2d", 1.5, -2.0)
    pickled = (
        b"\x80\x02}q\x01U\x01acnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"
        b"K\x00\x85U\x01b\x87Rq\x04(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f8K\x00K\x01\x87Rq\x06"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x10" + data + b"tbs."
    )
    (tmp_path / "py2.pkl").write_bytes(pickled)
    assert read_arrays(tmp_path / "py2.pkl")["a"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "is a web page (HTML)"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"\x1f\x8brest", "is gzip: unpack it first"),
        (b"\x93NUMPY\x01\x00", "is no pickle"),
        (b"hello", "is no pickle"),
        (b".", "is no pickle"),
        (b"\x80\x63N.", "is a malformed pickle"),
        (pickle.dumps([1, 2, 3])[:-3], "is cut short or damaged"),
        (pickle.dumps(np.ones(100))[:200], "is cut short or damaged"),
        (pickle.dumps({"a": 1}, 0)[:-1], "is cut short or damaged"),
    ],
)
def test_what_is_no_whole_pickle(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "data.pkl").write_bytes(content)
    assert words in refusal(tmp_path / "data.pkl")


def test_missing_folder_and_too_large(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file .*none.pkl; expected a pickle"):
        read_arrays(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="is a folder; expected a pickle"):
        read_arrays(tmp_path)
    with pytest.raises(InputError, match="expected a pickle of at most"):
        read_arrays(written(tmp_path, CONTENT), max_bytes=100)


def test_no_random_damage_passes_unnoticed_or_ends_in_a_traceback(tmp_path: Path) -> None:
    """Whatever single byte changes, the result is plain values or one sentence."""
    original = pickle.dumps(CONTENT, 2)
    random = np.random.default_rng(0)
    for position in random.integers(0, len(original), 300):
        damaged = bytearray(original)
        damaged[position] ^= int(random.integers(1, 256))
        (tmp_path / "data.pkl").write_bytes(damaged)
        try:
            assert _only_plain(read_arrays(tmp_path / "data.pkl"))
        except InputError as error:
            assert str(error).startswith(str(tmp_path / "data.pkl"))


def _only_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_only_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_only_plain, value))
    plain = (type(None), bool, int, float, complex, str, bytes, np.ndarray, np.generic)
    return isinstance(value, plain)
