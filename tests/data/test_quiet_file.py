"""A file on a full disk: HDF5 reads what it wrote, and is told at the end."""

from __future__ import annotations

import errno
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from cggm.data.features.quiet_file import QuietFile


class SmallDisk(FileIO):
    """Has room for 8 bytes."""

    def write(self, data: Any) -> int:
        room = 8 - self.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:room])


def read(file: QuietFile, position: int, count: int) -> bytes:
    buffer = bytearray(b"?" * count)
    file.seek(position)
    assert file.readinto(buffer) == count
    return bytes(buffer)


def write(file: QuietFile, position: int, data: bytes) -> None:
    file.seek(position)
    assert file.write(data) == len(data)


def test_what_could_not_be_written_is_read_back(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "file", "w+") as disk:
        file = QuietFile(disk)
        write(file, 0, b"abcd")
        file.check()
        assert read(file, 2, 4) == b"cd\0\0"  # zeros behind the end, as HDF5 itself reads a file
        write(file, 4, b"efghij")
        write(file, 12, b"mn")
        write(file, 2, b"CD")
        write(file, 8, b"I")
        file.truncate(20)
        file.flush()
        assert read(file, 0, 16) == b"abCDefghIj\0\0mn\0\0"
        assert read(file, 3, 2) == b"De" and read(file, 13, 1) == b"n"
        with pytest.raises(OSError, match="No space left"):
            file.check()
    assert (tmp_path / "file").read_bytes() == b"abcdefgh"
