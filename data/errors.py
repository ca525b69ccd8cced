"""The error for what a user gave, and the pieces its messages are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

Entry = TypeVar("Entry")


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


def nearest(name: str, names: Iterable[str], most: int = 1, cutoff: float = 0.6) -> str:
    """Ask, in brackets, for the names that a misspelled one is close to; empty when none is.

    >>> f"no method is called 'cgm'{nearest('cgm', ['cggm', 'joint'])}; there are …"
    "no method is called 'cgm' (did you mean 'cggm'?); there are …"
    """
    near = get_close_matches(name, list(names), most, cutoff)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def look_up(name: str, entries: Mapping[str, Entry], what: str) -> Entry:
    """Give the entry of a name.

    Raises:
        InputError: there is none; it names the nearest and all that there are.
    """
    if name not in entries:
        raise InputError(
            f"no {what} is called {name!r}{nearest(name, entries)}; choose one of {list(entries)}"
        )
    return entries[name]


def problem_report(subject: str, problems: Sequence[str], most: int = 10) -> str:
    """Join problems to one message: a single one as it is, else a headline and the first of them.

    >>> print(problem_report("the table", ["row 1 is empty", "row 2 is empty"], most=1))
    2 problems in the table:
      row 1 is empty
      … and 1 more
    """
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems)} problems in {subject}:", *problems[:most]]
    if len(problems) > most:
        lines.append(f"… and {len(problems) - most} more")
    return "\n  ".join(lines)
