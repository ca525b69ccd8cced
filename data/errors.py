"""The error that tells a user what is wrong with what they gave."""

from __future__ import annotations

from collections.abc import Collection


class InputError(ValueError):
    """Something the user gave cannot be used: a file, a folder, a label, a setting.

    The message is one sentence that names the case or file, what was found, what is expected and
    the likely remedy. The command line prints it without a traceback and exits with 1.
    """


def some(names: Collection[object], most: int = 10) -> str:
    """Name the first of many, and say how many there are besides.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(str(name) for name in list(names)[:most]) + rest
