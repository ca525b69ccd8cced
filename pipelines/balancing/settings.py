"""Checks of a method's settings: numbers, whole numbers, choices, switches, ranges of epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_number(
    name: str, value: float, most: float = math.inf, *, above: float = -1, below: float = math.inf
) -> None:
    """Refuse a setting that is no finite number in its range.

    Args:
        name: of the setting.
        value: what it is set to.
        most: the largest that is allowed.
        above: allowed are larger numbers only; without it, 0 and larger.
        below: allowed are smaller numbers only.

    Raises:
        ValueError: it is none, or out of its range.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 <= value <= most and above < value < below and value < math.inf:
        return
    end = min(most, below)
    if end < math.inf:
        low, high = ("(" if above >= 0 else "["), (")" if below <= most else "]")
        allowed = f" in {low}{max(above, 0):g}, {end:g}{high}"
    else:
        allowed = f" above {above:g}" if above >= 0 else ", 0 or larger"
    raise ValueError(f"{name} is {value!r}; it is a number{allowed}")


def check_whole(name: str, value: int, least: int | None = None) -> None:
    """Refuse a setting that is no whole number, or below the least that is allowed.

    Raises:
        ValueError: it is neither.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and (least is None or value >= least):
        return
    rest = "" if least is None else f", {least} or larger"
    raise ValueError(f"{name} is {value!r}; it is a whole number{rest}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a setting that is none of its choices.

    Raises:
        ValueError: it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it is one of {list(choices)}")


def check_switch(name: str, value: object) -> None:
    """Refuse a setting that is neither True nor False.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it is True or False")


def check_epochs(first: int, last: int | None) -> None:
    """Refuse a range of epochs that is none.

    Args:
        first: the first epoch, from 1.
        last: the last one; None for no end.

    Raises:
        ValueError: they are no whole numbers from 1, or the last is before the first.
    """
    check_whole("first_epoch", first, 1)
    if last is None:
        return
    check_whole("last_epoch", last, 1)
    if last < first:
        raise ValueError(f"last_epoch is {last}; it is first_epoch, {first}, or later")
