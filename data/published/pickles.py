"""How are the arrays of a pickle read without running what else it may hold?

A pickle is a program: reading one with :func:`pickle.load` runs it. Here it may build plain
containers, texts, numbers and NumPy arrays, and nothing else. Not even NumPy itself sees what the
file says before it was checked: objects of this file stand in for its functions and types.
"""

from __future__ import annotations

import math
import mmap
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..foreign import check_content
from .pickle_content import Budget, Content
from .pickle_machine import Machine, checked_keys
from .pickle_scan import Refused, scan, shown

MAX_BYTES = 32 * 2**30
MAX_AXES = 32

_MULTIARRAY = re.compile(r"numpy\.(core|_core)\.multiarray")
_NUMERIC = re.compile(r"numpy\.(core|_core)\.numeric")
_NUMBERS_AND_TEXTS = re.compile(r"[|<>=]?(?:[biufc]\d+|[?SUa]\d*)")
_ENCODINGS = ("latin1", "latin-1", "iso-8859-1", "ascii", "utf-8", "utf8")


def read_arrays(path: str | Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a pickle of NumPy arrays, plain containers, texts and numbers, of Python 2 or 3.

    Args:
        path: the file.
        max_bytes: larger files are refused.

    Returns:
        Its content. Arrays of numbers are read-only. ``OrderedDict`` becomes ``dict``, an array of
        Python strings stays one.

    Raises:
        InputError: it is no pickle, is cut short or too large, or holds anything else; what it
            holds is named, and was not run.
    """
    path = Path(path)
    check_content(path, "a pickle")
    size = path.stat().st_size
    if size > max_bytes:
        raise InputError(
            f"{path} has {size / 2**30:.1f} GiB; expected a pickle of at most "
            f"{max_bytes / 2**30:.0f} GiB: is it the right file?"
        )
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            scan(view)
            view.seek(0)
            return _Reader(view, size).content()
    except Refused as error:
        raise InputError(f"{path} {error}") from error
    except (EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} is cut short or damaged ({shown(str(error))}): copy or download it again"
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} needs more memory than there is") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # a malformed pickle can fail in any way, but has run nothing
        raise InputError(
            f"{path} is a malformed pickle ({type(error).__name__}: {shown(str(error))}): write it "
            "again"
        ) from error


class _Reader(Machine):
    """Knows the names in `_allowed` and no other."""

    def __init__(self, file: mmap.mmap, size: int) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")
        self.most = 2 * size + 2**20
        self.budget = Budget(self.most)  # of what the file may have copied

    def find_class(self, module: str, name: str) -> Any:
        found = _allowed(module, name, self.budget)
        if found is None:
            raise Refused(
                f"holds {shown(module)}.{shown(name)}, which could run code; expected NumPy "
                "arrays, plain containers, texts and numbers only: do not trust its source, "
                "nothing of it was run"
            )
        return found

    def content(self) -> Any:
        return Content(_Array, Budget(self.most)).plain(self.load())


class _Sealed:
    """Something a pickle may call, but not change."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise Refused("tries to change how it is read; do not trust its source")


class _Type:
    """A data type as the pickle describes it."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        if isinstance(code, _Type):
            code = code.code
        if isinstance(code, bytes):
            code = code.decode("latin-1")
        self.code = code
        self.order: Any = "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(state[2:5]):
            raise Refused("holds an array of records; expected numbers or texts")
        order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise Refused(f"is malformed (byte order {shown(order)!r})")
        self.order = order

    def holds_objects(self) -> bool:
        return self.code in ("O", "O4", "O8", "|O", "|O4", "|O8")

    def dtype(self) -> np.dtype:
        if not isinstance(self.code, str) or not _NUMBERS_AND_TEXTS.fullmatch(self.code):
            raise Refused(f"holds an array of type {shown(self.code)!r}; expected numbers or texts")
        dtype = np.dtype(self.code)
        return dtype if self.order in ("|", "=") else dtype.newbyteorder(self.order)


class _Array:
    """An array as the pickle describes it; `value` is the array itself."""

    __slots__ = ("budget", "value")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, data = state if len(state) == 5 else (1, *state)
        self.value = _array(data, kind, shape, "F" if by_columns else "C", self.budget)


def _allowed(module: str, name: str, budget: Budget) -> Any:
    if _MULTIARRAY.fullmatch(module) and name == "_reconstruct":
        return _Sealed(lambda *_: _Array(budget))
    if _MULTIARRAY.fullmatch(module) and name == "scalar":
        return _Sealed(lambda kind, data=b"": _array(data, kind, (), "C", budget)[()])
    if _NUMERIC.fullmatch(module) and name == "_frombuffer":
        return _Sealed(lambda data, kind, shape, order: _array(data, kind, shape, order, budget))
    if (module, name) == ("numpy", "ndarray"):
        return _Sealed(_no_empty_array)
    if (module, name) == ("numpy", "dtype"):
        return _Sealed(_Type)
    if module == "numpy.dtypes" and re.fullmatch(r"[A-Z][A-Za-z0-9]*DType", name):
        return _Sealed(lambda *_: _named_type(name))
    if (module, name) == ("collections", "OrderedDict"):
        return _Sealed(lambda pairs=(): _ordered(pairs, budget))
    if (module, name) == ("_codecs", "encode"):
        return _Sealed(lambda text, encoding="utf-8": _encoded(text, encoding, budget))
    if module in ("builtins", "__builtin__") and name in ("set", "frozenset"):
        make = set if name == "set" else frozenset
        return _Sealed(lambda items=(): make(checked_keys(_counted(items, budget))))
    return None


def _no_empty_array(*_: Any) -> None:
    raise Refused("makes an array without content, as an attack on the memory does")


def _named_type(name: str) -> _Type:
    kind: Any = getattr(np.dtypes, name, None)
    if not isinstance(kind, type) or not issubclass(kind, np.dtype):
        raise Refused(f"holds an array of type {name}; expected numbers or texts")
    make: Any = kind
    return _Type(make().str)


def _counted(items: Any, budget: Budget) -> Any:
    if not isinstance(items, (list, tuple, dict, set, frozenset)):
        raise Refused(f"is malformed (a container made of {type(items).__name__})")
    budget.take(64 * len(items))
    return items


def _ordered(pairs: Any, budget: Budget) -> dict[Any, Any]:
    pairs = list(_counted(pairs, budget))
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise Refused("is malformed (a dictionary without pairs of key and value)")
    keys = checked_keys(pair[0] for pair in pairs)
    return dict(zip(keys, (pair[1] for pair in pairs), strict=True))


def _encoded(text: Any, encoding: Any, budget: Budget) -> bytes:
    if not isinstance(text, str) or encoding not in _ENCODINGS:
        raise Refused(f"is malformed (a text encoded as {shown(encoding)!r})")
    budget.take(len(text))
    return text.encode(encoding)


def _array(data: Any, kind: Any, shape: Any, order: Any, budget: Budget) -> np.ndarray:
    if not isinstance(kind, _Type) or order not in ("C", "F"):
        raise Refused("is malformed (an array without a type or order)")
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise Refused(f"is malformed (an array of shape {shown(shape)})")
    if len(shape) > MAX_AXES:
        raise Refused(f"is malformed (an array of {len(shape)} axes)")
    if kind.holds_objects():
        return _texts(data, shape, order, budget)
    dtype = kind.dtype()
    if isinstance(data, str):  # bytes of Python 2
        budget.take(len(data))
        data = data.encode("latin-1")
    if not isinstance(data, (bytes, bytearray)):
        raise Refused(f"is malformed (an array made of {type(data).__name__})")
    promised = math.prod(shape) * dtype.itemsize
    if promised != len(data):
        raise Refused(
            f"is malformed: an array of shape {shape} and type {dtype} takes {promised} bytes, "
            f"found {len(data)}"
        )
    if promised == 0:
        return np.zeros(shape if dtype.itemsize else 0, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _texts(data: Any, shape: tuple[int, ...], order: str, budget: Budget) -> np.ndarray:
    """An array of Python objects: only texts are let in, as names of samples are kept so."""
    plain = isinstance(data, list) and len(data) == math.prod(shape)
    for kind in (str, bytes):
        if plain and data and all(type(item) is kind for item in data):
            budget.take(len(data))
            # Of objects: with room for the longest text in each place, a few bytes could fill it.
            return np.array(data, dtype=object).reshape(shape, order="F" if order == "F" else "C")
    raise Refused(
        "holds an array of Python objects, which could run code; expected arrays of numbers or "
        "texts: nothing of it was run"
    )
