"""How does HDF5 write to a disk that may be full?"""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from typing import Any


class QuietFile:
    """A file for h5py that goes on quietly after a failed write; :meth:`check` tells.

    HDF5 itself would report one failed write again and again, until the program ends.

    Args:
        file: open for reading and writing, without a buffer: the flushing of a full one would fail
            in the middle of a seek, which HDF5 does not survive.
    """

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.seek, self.tell, self.read = file.seek, file.tell, file.read
        self.readinto = file.readinto

    def write(self, data: Any) -> int:
        """Write, or pretend to."""
        return self._try(lambda: self._write_all(memoryview(data)), len(data))

    def truncate(self, size: int) -> int:
        """Change the size of the file, or pretend to."""
        return self._try(lambda: self.file.truncate(size), size)

    def flush(self) -> None:
        """Hand what was written to the system, or pretend to."""
        self._try(self.file.flush, None)

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

    def _try(self, act: Callable[[], Any], otherwise: Any) -> Any:
        if self.error is None:
            try:
                return act()
            except OSError as error:
                self.error = error
        return otherwise
