"""Is a pickle whole, and does it promise no more than it holds? Found out without executing it."""

from __future__ import annotations

import mmap
import pickletools
from typing import Any

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_OUTSIDE = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER"}
_RECALL = {"GET", "BINGET", "LONG_BINGET"}
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
# Where the argument of an opcode says its own size: how many bytes that size takes.
_SIZED = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
# Arrays take few codes; each code can take 200 bytes of memory.
MAX_CODES = 2_000_000
# A container that is begun and not ended takes one mark.
MAX_MARKS = 500


class Refused(Exception):
    """What is wrong with the pickle, as the end of a sentence that starts with its name."""


def scan(view: mmap.mmap) -> None:
    """Walk over the opcodes of a pickle.

    Raises:
        Refused: it is none, refers to something outside of it, or needs time or memory out of
            proportion.
        EOFError: it is cut short, or promises more bytes than follow.
    """
    codes, marks = 0, 0
    while True:
        opcode = _opcode(view, codes)
        codes += 1
        if opcode.name == "STOP":
            return
        marks += (opcode.name == "MARK") - (pickletools.markobject in opcode.stack_before)
        if codes > MAX_CODES or marks > MAX_MARKS:
            raise Refused(_limit_passed(marks))
        if opcode.name in _OUTSIDE:
            raise Refused(f"refers to objects outside of it ({opcode.name}); expected arrays only")
        argument = _argument(view, opcode)
        if opcode.name in _MEMO:
            slot = int(argument) if opcode.name == "PUT" else int.from_bytes(argument, "little")
            if not 0 <= slot <= codes:
                raise Refused(f"is malformed (memo slot {slot} after {codes} codes)")


def _opcode(view: mmap.mmap, before: int) -> pickletools.OpcodeInfo:
    """The next code, `before` codes after the beginning."""
    code = view.read(1)
    if not code:
        raise EOFError("its end is missing")
    opcode = _OPCODES.get(code.decode("latin-1"))
    if opcode is None:
        what = "is no pickle" if before < 3 else "is damaged"
        raise Refused(f"{what} (unknown code {code!r} at byte {view.tell() - 1})")
    if before == 0 and (opcode.stack_before or opcode.name in _RECALL):
        raise Refused("is no pickle")
    return opcode


def _limit_passed(marks: int) -> str:
    most, what = (MAX_MARKS, "levels of nesting")
    if marks <= MAX_MARKS:
        most, what = (MAX_CODES, "values outside of arrays")
    return (
        f"has more than {most:,} {what}; expected arrays: make arrays of NumPy out of lists of "
        "numbers"
    )


def _argument(view: mmap.mmap, opcode: pickletools.OpcodeInfo) -> bytes:
    if opcode.arg is None:
        return b""
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        line = view.readline()
        return line + view.readline() if opcode.name in ("GLOBAL", "INST") else line
    if opcode.arg.n >= 0:
        return view.read(opcode.arg.n)
    length = int.from_bytes(view.read(_SIZED[opcode.arg.n]), "little")
    left = len(view) - view.tell()
    if length > left:
        raise EOFError(f"{length} bytes are promised, {left} are left")
    view.seek(length, 1)
    return b""


def shown(value: Any) -> str:
    """Give something of the file for a message: short, in one line, without control characters."""
    if isinstance(value, bytes):
        value = value[:80].decode("latin-1")
    if isinstance(value, str):
        return repr(value[:80])[1:-1]
    if isinstance(value, tuple) and len(value) < 9 and all(type(n) is int for n in value):
        return repr(tuple(n if abs(n) < 2**63 else "huge" for n in value))
    return type(value).__name__
