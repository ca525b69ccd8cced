"""Pickles: arrays are read, code is refused by its name and not run, bombs end in a sentence."""

from __future__ import annotations

import builtins
import collections
import copyreg
import os
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.published import pickled_arrays
from cggm.data.published.pickled_arrays import read_arrays

CONTENT = {
    "train": {
        "text": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "swapped": np.arange(3, dtype=">i2"),
        "id": np.array([[b"abc", b"1.5"], [b"d", b"2"]]),
        "names": np.array(["a", "Zürich"]),
        "objects": np.array(["a", "long"], dtype=object),
        "ragged": np.array([np.zeros(2), np.ones(3)], dtype=object),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "length": [np.int64(3), np.float32(0.5), 7, None, True, b"x"],
    },
    "meta": collections.OrderedDict(a=(1, frozenset({2}), {3})),
}


def written(folder: Path, content: Any, protocol: int = 4) -> Path:
    (folder / "data.pkl").write_bytes(pickle.dumps(content, protocol, fix_imports=False))
    return folder / "data.pkl"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_arrays(path)
    assert str(error.value).startswith(str(path)) and len(str(error.value)) < 600
    return str(error.value)


def opcode_of_text(text: str) -> bytes:
    """What puts a text on the stack of a pickle."""
    return b"X" + struct.pack("<I", len(text)) + text.encode()


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_values_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    content = read_arrays(written(tmp_path, CONTENT, protocol))
    assert list(content) == ["train", "meta"]
    assert content["meta"] == {"a": (1, frozenset({2}), {3})}
    assert content["train"].pop("length") == CONTENT["train"]["length"]
    ragged = content["train"].pop("ragged")
    assert [part.tolist() for part in ragged] == [[0, 0], [1, 1, 1]]
    for key, array in content["train"].items():
        np.testing.assert_array_equal(array, CONTENT["train"][key])
        assert array.dtype.kind == CONTENT["train"][key].dtype.kind


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


def test_a_pickle_behind_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"header" + pickle.dumps([1.5]))
    assert read_arrays(tmp_path / "data", offset=6) == [1.5]


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
        (b"\x80\x63N.", "is no pickle"),
        (pickle.dumps([1, 2, 3])[:-3], "cut short or damaged"),
        (pickle.dumps(np.ones(100))[:200], "cut short or damaged"),
        (pickle.dumps({"a": 1}, 0)[:-1], "cut short or damaged"),
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


def test_random_damage_gives_plain_values_or_one_sentence(tmp_path: Path) -> None:
    original = pickle.dumps(CONTENT, 2)
    random = np.random.default_rng(0)
    for position in random.integers(0, len(original), 30):
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


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(marker: Path) -> dict[str, tuple[Any, str]]:
    shell = f"touch {marker}"
    attribute = Call(getattr, Call(__import__, "os"), "system")
    return {
        "os.system": (Call(os.system, shell), f"holds {os.system.__module__}.system"),
        "eval": (Call(eval, f"open({str(marker)!r}, 'w')"), "holds builtins.eval"),
        "nested getattr": (Call(builtins.map, attribute, [shell]), "holds builtins.map"),
        "numpy.load": (Call(np.load, str(marker), None, True), "holds numpy.load"),
        "copyreg": (
            Call(copyreg._reconstructor, subprocess.Popen, object, None),  # pyright: ignore
            "holds copyreg._reconstructor",
        ),
        "subprocess": (Call(subprocess.Popen, ["touch", str(marker)]), "holds subprocess.Popen"),
        "in an array": (np.array([Call(os.system, shell)], dtype=object), "holds posix.system"),
        "method of an array": (Call(np.ndarray.tofile, np.ones(2), str(marker)), "holds "),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="the attacks are written for a POSIX shell")
@pytest.mark.parametrize("name", list(hostile(Path())))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_by_name_and_not_run(name: str, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    attack, words = hostile(marker)[name]
    message = refusal(written(tmp_path, {"train": [attack]}, protocol))
    assert words in message and "could run code" in message and "nothing of it was run" in message
    assert not marker.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the attack is written for a POSIX shell")
def test_the_attack_would_work_with_pickle_load(tmp_path: Path) -> None:
    """Without this, the test above could pass because its attacks are harmless."""
    path = written(tmp_path, hostile(tmp_path / "marker")["os.system"][0])
    with open(path, "rb") as file:
        pickle.load(file)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "ndarray.tofile"),
        ("numpy", "load"),
        ("numpy.core.multiarray.os", "system"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.dtypes", "sys.DType"),
        ("collections", "namedtuple"),
        ("_codecs", "lookup"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("os\n\x1b[2Jo", "system"),
    ],
)
def test_dotted_and_disguised_names_are_refused(module: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(b"\x80\x04" + opcode_of_text(module) + opcode_of_text(name) + b"\x93.")
    shown = repr(f"{module}.{name}")[1:-1]
    assert f"holds {shown}, which could run code" in refusal(path)


def test_other_objects_and_arrays_are_refused(tmp_path: Path) -> None:
    record = np.zeros(2, dtype=[("a", "f4"), ("b", "O")])
    assert "expected numbers or texts" in refusal(written(tmp_path, record))
    dates = np.zeros(2, dtype="M8[s]")
    assert "holds an array of type datetime64[s]" in refusal(written(tmp_path, dates))
    assert "holds type where arrays are expected" in refusal(written(tmp_path, [np.ndarray]))
    (tmp_path / "data.pkl").write_bytes(b"\x80\x04\x82\x01.")  # a name registered elsewhere
    assert "is no pickle" in refusal(tmp_path / "data.pkl")


HUGE = b"\x8a\x06" + (2**40).to_bytes(6, "little")
NDARRAY = b"cnumpy\nndarray\n"
MEMORY = "needs far more memory than its size"
BUDGET = "builds far more than it holds"


def nested(levels: int, *, times: int) -> bytes:
    """The opcodes of a tuple in a tuple in a tuple …, each `times` times in the next."""
    step = {1: b"\x85", 2: b"q\x00h\x00\x86"}[times]
    return b")" + step * levels


BOMBS = {
    "lists that come to 2**31 numbers": (
        b"]q\x00K\x01a" + b"]q\x01(h\x00h\x00eq\x00" * 31,
        BUDGET,
    ),
    "a list in itself": (b"]q\x00h\x00a", BUDGET),
    "wide tuple": (nested(60, times=2), BUDGET),
    "one text in all places": (
        b"](" + opcode_of_text("x" * 10**6) + b"q\x00" + b"h\x00" * 10**5 + b"e",
        BUDGET,
    ),
    "array without content": (NDARRAY + HUGE + b"\x85R", MEMORY),
    "array that says it is large": (
        pickle.dumps(np.zeros(7, np.uint8), 4)[2:-1].replace(b"K\x07\x85", HUGE + b"\x85"),
        "damaged",
    ),
    "array over one byte": (
        # numpy.ndarray((2**40,), "u1", b"x", 0, (0,)): all its numbers are the same byte
        NDARRAY + b"(" + HUGE + b"\x85U\x02u1C\x01xK\x00K\x00\x85tR",
        BUDGET,
    ),
    "text that says it is large": (b"\x8e" + struct.pack("<Q", 2**40) + b"abc", "damage"),
    "deep tuple as key": (b"}" + nested(300_000, times=1) + b"Ns", "damaged"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_in_a_sentence(name: str, tmp_path: Path) -> None:
    content, words = BOMBS[name]
    (tmp_path / "data.pkl").write_bytes(b"\x80\x04" + content + b".")
    message = refusal(tmp_path / "data.pkl")
    assert words in message and "\n" not in message


def test_what_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled_arrays, "SECONDS", 2)
    key = b"\x80\x04}" + nested(60, times=2) + b"Ns."  # a hash of 2**60 steps
    (tmp_path / "data.pkl").write_bytes(key)
    began = time.monotonic()
    assert "takes more than 2 seconds to read" in refusal(tmp_path / "data.pkl")
    assert time.monotonic() - began < 20
