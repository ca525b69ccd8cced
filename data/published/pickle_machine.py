"""How are the containers of a pickle built, so that no key or member costs more than it says?

To put a key into a dictionary or set, Python computes its hash. That of nested tuples can take
forever or exhaust the stack, and numbers can be chosen that all have one hash. Python's unpickler
in C does not let one look at a key before; the one in Python does, and is as fast for arrays.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from .pickle_scan import Refused

# Of integers up to this size the hash is the number itself, so that few can have the same.
_LARGEST = 2**60


class Machine(pickle._Unpickler):  # pyright: ignore[reportPrivateUsage]
    """An unpickler whose dictionaries and sets have texts and numbers as keys and members.

    Raises:
        Refused: there is another key, or something is filled that is no container.
    """

    # What the type checker is not told of the class above.
    read: Any
    stack: list[Any]
    append: Any
    pop_mark: Any

    def _frame(self) -> None:
        self.read(8)  # how many bytes belong together; all are there already

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append(_filled({}, items))

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _filled(self.stack[-1], [key, value])

    def _setitems(self) -> None:
        items = self.pop_mark()
        _filled(self.stack[-1], items)

    def _additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise Refused("is malformed (members of what is no set)")
        self.stack[-1].update(checked_keys(items))

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(checked_keys(items)))

    dispatch: ClassVar[Any] = pickle._Unpickler.dispatch | {  # pyright: ignore[reportPrivateUsage]
        pickle.FRAME[0]: _frame,
        pickle.DICT[0]: _dict,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
        pickle.ADDITEMS[0]: _additems,
        pickle.FROZENSET[0]: _frozenset,
    }


def checked_keys(keys: Iterable[Any]) -> list[Any]:
    """Give the keys of a dictionary or members of a set when their hashes are computed at once.

    Raises:
        Refused: one is neither a text nor a number.
    """
    found = list(keys)
    for key in found:
        if isinstance(key, (str, bytes, float, np.integer)) or key is None:
            continue
        if not isinstance(key, int) or abs(key) > _LARGEST:
            what = "a huge number" if isinstance(key, int) else type(key).__name__.strip("_")
            raise Refused(
                f"has {what} as the key of a dictionary or member of a set; expected texts or "
                "numbers: write it again if it is yours, and do not trust its source otherwise"
            )
    return found


def _filled(target: Any, items: list[Any]) -> dict[Any, Any]:
    if type(target) is not dict or len(items) % 2:
        raise Refused("is malformed (keys and values of what is no dictionary)")
    target.update(zip(checked_keys(items[::2]), items[1::2], strict=True))
    return target
