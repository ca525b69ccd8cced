"""NumPy arrays out of a pickle, without running what else it may hold.

A pickle is a program: reading one with :func:`pickle.load` runs it. The restricted unpickler here
knows the few names that arrays are made of, see "Restricting Globals" in Python's documentation.
As even these can be made to fill the memory, the file is first read in a process of its own, which
may take little memory and time.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..foreign import check_content

MAX_BYTES = 32 * 2**30
TIMES = 8  # the size of the file is what its content may take, as numbers in lists do
ROOM = 2**31  # bytes besides, for Python and NumPy
SECONDS = 60  # to read a file, and one more per MiB

# The functions that NumPy itself names in a pickle of an array or a number.
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_SCALAR = np.float64(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): str.encode,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _RECONSTRUCT
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _SCALAR
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _FROM_BUFFER
for _builtins in ("builtins", "__builtin__"):
    _ALLOWED[_builtins, "bytes"] = bytes
    _ALLOWED[_builtins, "set"] = set
    _ALLOWED[_builtins, "frozenset"] = frozenset

_PLAIN = (str, bytes, bytearray, bool, int, float, complex, type(None))


class _Refused(Exception):
    """What is wrong with the pickle, as the end of a sentence that starts with its name."""


def read_arrays(path: str | Path, *, offset: int = 0, max_bytes: int = MAX_BYTES) -> Any:
    """Read a pickle of NumPy arrays, plain containers, texts and numbers, of Python 2 or 3.

    Args:
        path: the file.
        offset: where in the file the pickle begins, in bytes.
        max_bytes: larger files are refused.

    Returns:
        Its content; an ``OrderedDict`` becomes a ``dict``.

    Raises:
        InputError: it is no pickle, is damaged or too large, takes far more memory than its size,
            or holds anything else; what it holds is named, and was not run.
    """
    path = Path(path)
    check_content(path, "a pickle")
    size = path.stat().st_size
    if size > max_bytes:
        raise InputError(
            f"{path} has {size / 2**30:.1f} GiB; expected a pickle of at most "
            f"{max_bytes / 2**30:.0f} GiB: is it the right file?"
        )
    _try_in_a_child(path, offset, size)
    return _load(path, offset)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise _Refused(
                f"holds {_shown(f'{module_name}.{global_name}')}, which could run code; expected "
                "NumPy arrays, plain containers, texts and numbers only: do not trust its source, "
                "nothing of it was run"
            )
        return _ALLOWED[module_name, global_name]


def _load(path: Path, offset: int) -> Any:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = _Unpickler(file, encoding="latin1").load()
        _check_plain(content, TIMES * path.stat().st_size + 2**20)
    except _Refused as error:
        raise InputError(f"{path} {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except MemoryError as error:
        raise InputError(
            f"{path} needs far more memory than its size: it is damaged, or an attack on the memory"
        ) from error
    except Exception as error:  # a malformed pickle can fail in any way, but has run nothing
        raise InputError(
            f"{path} is no pickle, or cut short or damaged ({type(error).__name__}: "
            f"{_shown(str(error))}): copy or download it again"
        ) from error
    return content


def _check_plain(content: Any, budget: int) -> None:
    """Refuse what is no array or plain value, or comes to more than `budget` bytes.

    Ten references to a list of ten references to … take a few bytes in the file, and all memory
    once an array is made of them. So each reference counts as much as what it stands for.
    """
    left = [content]
    while left:
        value = left.pop()
        budget -= 1
        if isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            left += value
        elif isinstance(value, (np.ndarray, np.generic)):
            budget -= value.nbytes
            if value.dtype.kind not in "biufcSUO":
                raise _Refused(f"holds an array of type {value.dtype}; expected numbers or texts")
            if value.dtype.kind == "O" and budget >= 0:
                left += value.ravel().tolist()
        elif isinstance(value, _PLAIN):
            budget -= len(value) if isinstance(value, (str, bytes, bytearray)) else 0
        else:
            raise _Refused(f"holds {type(value).__name__} where arrays are expected")
        if budget < 0:
            raise _Refused("builds far more than it holds, as an attack on the memory does")


def _shown(text: str) -> str:
    """A text of the file for a message: short, in one line, without control characters."""
    return repr(text[:80])[1:-1]


def _try_in_a_child(path: Path, offset: int, size: int) -> None:
    """Read the file in another process, so that it is that process which comes to harm."""
    seconds = SECONDS + size / 2**20
    command = [sys.executable, "-m", __name__, str(path), str(offset)]
    try:
        child = subprocess.run(
            command,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{path} takes more than {seconds:.0f} seconds to read: it is damaged, or an attack"
        ) from error
    if child.returncode:
        refusal = child.stdout.decode(errors="surrogateescape")
        raise InputError(
            refusal or f"{path} ends the process that reads it: it is damaged, or an attack"
        )


def _main(path: Path, offset: int) -> int:
    """Read the file with limited memory; a refusal goes to the standard output."""
    try:
        import resource
    except ImportError:
        pass  # there is none on Windows
    else:
        most = TIMES * path.stat().st_size + ROOM
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        _load(path, offset)
    except InputError as error:
        sys.stdout.buffer.write(str(error).encode(errors="surrogateescape"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), int(sys.argv[2])))
