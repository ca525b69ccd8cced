"""How does HDF5 write to a disk that may be full?"""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from typing import Any


class QuietFile:
    """A file for h5py that goes on quietly after a failed write; :meth:`check` tells.

    HDF5 itself would report one failed write again and again, until the program ends. It must not
    notice: it reads back some of what it wrote and trusts it, so that other bytes there, or memory
    that nothing was read into, can crash it. What could not be written is therefore kept in memory
    and given back; that is little where :meth:`check` is called between the samples.

    Args:
        file: open for reading and writing, without a buffer: the flushing of a full one would fail
            in the middle of a seek, which HDF5 does not survive.
    """

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.seek, self.tell, self.read = file.seek, file.tell, file.read
        self._kept: list[tuple[int, bytes]] = []

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what was written or kept there, and zeros behind the end."""
        view, start, done = memoryview(buffer), self.file.tell(), 0
        while count := self.file.readinto(view[done:]):
            done += count
        view[done:] = bytes(len(view) - done)
        for position, data in self._kept:
            first = max(start, position)
            end = min(start + len(view), position + len(data))
            if first < end:
                view[first - start : end - start] = data[first - position : end - position]
        return len(view)

    def write(self, data: Any) -> int:
        """Write, or keep what cannot be written."""
        position = self.file.tell()
        self._try(lambda: self._write_all(memoryview(data)))
        if self.error is not None:
            self._kept.append((position, bytes(data)))
        return len(data)

    def truncate(self, size: int) -> int:
        """Change the size of the file, or pretend to."""
        self._try(lambda: self.file.truncate(size))
        return size

    def flush(self) -> None:
        """Hand what was written to the system, or pretend to."""
        self._try(self.file.flush)

    def check(self) -> None:
        """Raise the error of the first write that failed.

        Raises:
            OSError: one has.
        """
        if self.error is not None:
            raise self.error

    def _write_all(self, data: memoryview) -> int:
        done = 0
        while done < len(data):
            done += self.file.write(data[done:])
        return done

    def _try(self, act: Callable[[], object]) -> None:
        if self.error is None:
            try:
                act()
            except OSError as error:
                self.error = error
