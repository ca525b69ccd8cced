"""A pickle gives its arrays, and runs nothing: hostile ones are refused by the name they hold."""

from __future__ import annotations

import builtins
import collections
import copyreg
import os
import pickle
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.published.pickles import read_arrays

from ..pipelines.children import in_a_child


def written(folder: Path, content: Any, protocol: int = 4) -> Path:
    (folder / "data.pkl").write_bytes(pickle.dumps(content, protocol, fix_imports=False))
    return folder / "data.pkl"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_arrays(path)
    assert str(error.value).startswith(str(path))
    return str(error.value)


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


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


def test_dotted_and_disguised_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    for module, name in [
        ("numpy", "ndarray.tofile"),
        ("numpy", "load"),
        ("numpy.core.multiarray.os", "system"),
        ("numpy.dtypes", "sys.DType"),
        ("collections", "namedtuple"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
    ]:
        path.write_bytes(b"\x80\x04" + _text(module) + _text(name) + b"\x93.")
        assert f"holds {module}.{name}, which could run code" in refusal(path)


def nested(levels: int, *, times: int) -> bytes:
    """The opcodes of a tuple in a tuple in a tuple …, each `times` times in the next."""
    step = {1: b"\x85", 2: b"q\x00h\x00\x86"}[times]
    return b")" + step * levels


def numbers_of_one_hash(count: int) -> bytes:
    prime = 2**61 - 1
    return b"".join(
        b"\x8a\x0b" + (prime * k).to_bytes(11, "little") + b"N" for k in range(1, count)
    )


LISTS = b"]q\x00K\x01a" + b"]q\x01(h\x00h\x00eq\x00" * 31
ATTACKS = {
    "deep tuple as key": (b"}" + nested(300_000, times=1) + b"Ns", "has tuple as the key"),
    "wide tuple as key": (b"}" + nested(60, times=2) + b"Ns", "has tuple as the key"),
    "many keys at once": (b"}(K\x01N" + nested(60, times=2) + b"Nu", "has tuple as the key"),
    "old dictionary": (b"(" + nested(60, times=2) + b"Nd", "has tuple as the key"),
    "member of a set": (b"\x8f(" + nested(60, times=2) + b"\x90", "has tuple as the key"),
    "frozen": (b"(" + nested(60, times=2) + b"\x91", "has tuple as the key"),
    "frozen in frozen": (b"((\x91\x91", "has frozenset as the key"),
    "one hash": (b"}(" + numbers_of_one_hash(150_000) + b"u", "has a huge number as the key"),
    "ordered": (
        b"ccollections\nOrderedDict\n](" + nested(60, times=2) + b"N\x86e\x85R",
        "has tuple as the key",
    ),
    "set by call": (
        b"c__builtin__\nset\n](" + nested(60, times=2) + b"e\x85R",
        "has tuple as the key",
    ),
    "deep tuple": (nested(300_000, times=1), "nested more than 32 levels deep"),
    "wide tuple": (nested(60, times=2), "nested more than 32 levels deep"),
    "lists that come to 2**31 numbers": (LISTS, "builds far more than it holds"),
    "depth behind what is known": (
        b"(]q\x00" + b"]q\x01h\x00aq\x00" * 100 + b"t",
        "nested more than 32 levels deep",
    ),
    "one text in all places": (
        b"](" + b"X" + struct.pack("<I", 10**6) + b"x" * 10**6 + b"q\x00" + b"h\x00" * 10**5 + b"e",
        "builds far more than it holds",
    ),
    "a list for many arrays": (
        b"cnumpy.core.numeric\n_frombuffer\nq\x00](" + b"U\x01a" * 10**5 + b"eq\x01"
        b"cnumpy\ndtype\nU\x01O\x85Rq\x020J\xa0\x86\x01\x00\x85q\x030U\x01Cq\x040]("
        + b"h\x00(h\x01h\x02h\x03h\x04tR" * 1000
        + b"e",
        "builds far more than it holds",
    ),
    "a shape of huge numbers": (
        b"cnumpy.core.numeric\n_frombuffer\n(U\x00cnumpy\ndtype\nU\x02f4\x85R("
        + (b"\x8b" + struct.pack("<I", 10**5) + b"\x7f" * 10**5) * 100
        + b"tU\x01CtR",
        "is malformed (an array of shape tuple)",
    ),
    "a shape that is endless to print": (
        b"cnumpy.core.numeric\n_frombuffer\n(U\x00cnumpy\ndtype\nU\x02f4\x85R"
        + nested(60, times=2)
        + b"U\x01CtR",
        "is malformed (an array of shape tuple)",
    ),
    "marks": (b"(" * 10**6, "has more than 500 levels of nesting"),
    "containers without end": (b"]" * 2_000_001, "has more than 2,000,000 values outside"),
    "a name that clears the screen": (
        b"X\x08\x00\x00\x00os\n\x1b[2JoX\x06\x00\x00\x00system\x93",
        r"holds os\n\x1b[2Jo.system, which could run code",
    ),
    "an endless name": (b"c" + b"x" * 10**6 + b"\nsystem\n", "holds " + "x" * 80 + ".system"),
}


def memory_in_use() -> int:
    """Bytes as RLIMIT_DATA counts them: set aside, and so more than is resident."""
    _, _, after = Path("/proc/self/status").read_text().partition("VmData:")
    return int(after.split()[0]) * 1024


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_on_time_stack_and_memory(name: str, tmp_path: Path) -> None:
    """In a process of its own: some of these end the one that reads them."""
    path, (content, words) = tmp_path / "data.pkl", ATTACKS[name]
    path.write_bytes(b"\x80\x04" + content + b".")

    def attacked() -> None:
        import resource  # there is none on Windows

        signal.alarm(60)
        if sys.platform == "linux":
            room = memory_in_use() + 2**30
            resource.setrlimit(resource.RLIMIT_DATA, (room, room))
        (tmp_path / "message").write_text(refusal(path))

    assert os.waitstatus_to_exitcode(os.waitpid(in_a_child(attacked), 0)[1]) == 0
    message = (tmp_path / "message").read_text()
    assert words in message and len(message) < 600 and "\n" not in message


def test_an_array_of_texts_needs_no_room_for_the_longest_in_each_place(tmp_path: Path) -> None:
    texts = ["x" * 10**6, *map(str, range(10**4))]
    found = read_arrays(written(tmp_path, np.array(texts, dtype=object)))
    assert found.nbytes < 10**6 and found.tolist() == texts


def test_objects_in_arrays_are_refused(tmp_path: Path) -> None:
    for content in ([{"a": 1}], [1, 2], ["a", None], ["a", b"a"]):
        message = refusal(written(tmp_path, np.array(content, dtype=object)))
        assert "holds an array of Python objects, which could run code" in message
    record = np.zeros(2, dtype=[("a", "f4"), ("b", "O")])
    assert "holds an array of records" in refusal(written(tmp_path, record))


def test_memory_bombs_are_refused_before_memory_is_set_aside(tmp_path: Path) -> None:
    path, huge = tmp_path / "data.pkl", 2**40
    array = pickle.dumps(np.zeros(7, dtype=np.uint8), 4)
    shape = array.replace(b"K\x07\x85", b"\x8a\x06" + huge.to_bytes(6, "little") + b"\x85")
    assert shape != array
    attacks = {
        "takes 1099511627776 bytes, found 7": shape,
        "1099511627776 bytes are promised": b"\x80\x04\x8e" + struct.pack("<Q", huge) + b"abc.",
        "memo slot 4294967280": b"\x80\x04Nr" + struct.pack("<I", 2**32 - 16) + b".",
        "makes an array without content": b"\x80\x04"
        + _text("numpy")
        + _text("ndarray")
        + b"\x93\x8a\x06"
        + huge.to_bytes(6, "little")
        + b"\x85R.",
        "builds far more than it holds": b"\x80\x04"
        + _text("_codecs")
        + _text("encode")
        + b"\x93\x94("
        + _text("x" * 2**20)
        + _text("latin1")
        + b"t\x94]\x94("
        + b"h\x00h\x01R" * 8
        + b"e.",
    }
    for words, attack in attacks.items():
        path.write_bytes(attack)
        assert words in refusal(path)


def test_reading_cannot_be_changed_from_inside(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    state = b"N}" + _text("_make") + b"Ns\x86b."  # BUILD: setattr(object, "_make", None)
    path.write_bytes(b"\x80\x04" + _text("numpy") + _text("dtype") + b"\x93" + state)
    assert "tries to change how it is read" in refusal(path)
    path.write_bytes(b"\x80\x04\x82\x01.")
    assert "refers to objects outside of it (EXT1)" in refusal(path)


def test_endless_and_deep_containers_are_refused(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    for content in (endless, deep):
        assert "nested more than 32 levels deep" in refusal(written(tmp_path, content))


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


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()
