"""Is a pickle whole, and does it promise no more than it holds? Found out without executing it."""

from __future__ import annotations

import mmap
import pickletools

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


class Refused(Exception):
    """What is wrong with the pickle, as the end of a sentence that starts with its name."""


def scan(view: mmap.mmap) -> None:
    """Walk over the opcodes of a pickle.

    Raises:
        Refused: it is none, refers to something outside of it, or needs a memo out of proportion.
        EOFError: it is cut short, or promises more bytes than follow.
    """
    size, opcodes = len(view), 0
    while True:
        code = view.read(1)
        opcode = _OPCODES.get(code.decode("latin-1"))
        if not code:
            raise EOFError("its end is missing")
        if opcode is None:
            what = "is no pickle" if opcodes < 3 else "is damaged"
            raise Refused(f"{what} (unknown code {code!r} at byte {view.tell() - 1})")
        opcodes += 1
        if opcodes == 1 and (opcode.stack_before or opcode.name in _RECALL):
            raise Refused("is no pickle")
        if opcode.name == "STOP":
            return
        if opcode.name in _OUTSIDE:
            raise Refused(f"refers to objects outside of it ({opcode.name}); expected arrays only")
        argument = _argument(view, opcode)
        if opcode.name in _MEMO:
            slot = int(argument) if opcode.name == "PUT" else int.from_bytes(argument, "little")
            if not 0 <= slot <= opcodes:
                raise Refused(f"is malformed (memo slot {slot} after {opcodes} codes)")
        if view.tell() > size:
            raise EOFError("its end is missing")


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
