"""Is a pickle refused that would take forever, or all memory, or the stack?"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cggm.data.published.pickles import read_arrays

from ..children import in_a_child
from .pickled import opcode_of_text, refusal, written


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
        + opcode_of_text("numpy")
        + opcode_of_text("ndarray")
        + b"\x93\x8a\x06"
        + huge.to_bytes(6, "little")
        + b"\x85R.",
        "builds far more than it holds": b"\x80\x04"
        + opcode_of_text("_codecs")
        + opcode_of_text("encode")
        + b"\x93\x94("
        + opcode_of_text("x" * 2**20)
        + opcode_of_text("latin1")
        + b"t\x94]\x94("
        + b"h\x00h\x01R" * 8
        + b"e.",
    }
    for words, attack in attacks.items():
        path.write_bytes(attack)
        assert words in refusal(path)


def test_endless_and_deep_containers_are_refused(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    for content in (endless, deep):
        assert "nested more than 32 levels deep" in refusal(written(tmp_path, content))
