"""What does a pickle come to when all that it repeats is written out?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .pickle_scan import Refused

MAX_DEPTH = 32


class Budget:
    """What a file may build; more than it holds itself is an attack on the memory.

    Args:
        left: bytes, or items, to begin with.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Use some of it.

        Raises:
            Refused: nothing is left.
        """
        self.left -= count
        if self.left < 0:
            raise Refused("builds far more than it holds, as an attack on the memory does")


class _Found(NamedTuple):
    value: Any
    size: int
    height: int  # levels of containers in it


class Content:
    """Makes plain what an unpickler gave: arrays in place of their stand-ins, nothing unknown.

    Ten references to a list of ten references to … take a few bytes in the file, and all memory
    once an array is made of them. So each reference counts as much as what it stands for.

    Args:
        stand_in: the class whose `value` is an array.
        budget: what all references may come to, in bytes of arrays and texts, and items of others.
    """

    def __init__(self, stand_in: type, budget: Budget) -> None:
        self._stand_in = stand_in
        self._budget = budget
        self._known: dict[int, _Found] = {}

    def plain(self, value: Any) -> Any:
        """Give `value` with arrays in it.

        Raises:
            Refused: it holds something else, is nested too deep, or comes to far too much.
        """
        return self._found(value, 0).value

    def _found(self, value: Any, depth: int) -> _Found:
        found = self._known.get(id(value))
        if depth + (found.height if found else 0) > MAX_DEPTH:
            raise Refused(f"is nested more than {MAX_DEPTH} levels deep, or contains itself")
        if found:
            self._budget.take(found.size)
            return found
        self._known[id(value)] = self._looked_at(value, depth)
        return self._known[id(value)]

    def _looked_at(self, value: Any, depth: int) -> _Found:
        if isinstance(value, self._stand_in):
            value = value.value
            if value is None:
                raise Refused("holds an array without content")
        if isinstance(value, (np.ndarray, np.generic)):
            return _Found(value, value.nbytes + 1, 0)
        if isinstance(value, (str, bytes, bytearray)):
            return _Found(value, len(value) + 1, 0)
        if value is None or isinstance(value, (bool, int, float, complex)):
            return _Found(value, 1, 0)
        if type(value) not in (dict, list, tuple, set, frozenset):
            raise Refused(f"holds {type(value).__name__.strip('_')} where arrays are expected")
        return self._container(value, depth + 1)

    def _container(self, value: Any, depth: int) -> _Found:
        parts = [self._found(part, depth) for part in value]
        items = [self._found(item, depth) for item in value.values()] if type(value) is dict else []
        size = 1 + sum(part.size for part in [*parts, *items])
        height = 1 + max((part.height for part in [*parts, *items]), default=0)
        if type(value) is not dict:
            return _Found(type(value)(part.value for part in parts), size, height)
        pairs = zip(parts, items, strict=True)
        return _Found({key.value: item.value for key, item in pairs}, size, height)
