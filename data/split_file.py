"""The file that keeps the split of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError, some
from .files import read_json, write_json

PARTS = ("train", "val", "test")
FILE_NAME = "split.json"
# Says of a kept split that its test cases are meant to be those of the validation.
SHARED_TEST = "test_is_val"

# What the user calls a setting, where that is something else.
OPTIONS = {"seed": "split_seed"}

Split = dict[str, list[str]]


def write_split(file: Path, split: Split, about: Mapping[str, Any]) -> None:
    """Write a split with how it came about, whole or not at all."""
    shared = {SHARED_TEST: True} if split["test"] == split["val"] else {}
    counts = {part: len(split[part]) for part in PARTS}
    write_json(file, {**about, **shared, "counts": counts, **split})


def keep_given(split: Split, source: str | Path, output_dir: str | Path) -> None:
    """Keep a split from a file of the user's as that of a run, for what comes after training.

    Raises:
        InputError: the run has another split.
    """
    file = Path(output_dir) / FILE_NAME
    if not file.exists():
        write_split(file, split, {"split_file": str(source)})
    elif split_parts(split_content(file), file) != split:
        raise InputError(
            f"{file} holds another split than {source}: leave out --split_file to use the split of "
            "this folder, or pass another --output_dir"
        )


def split_content(file: Path) -> dict[str, Any]:
    """Read the object in a file of a split.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        content = read_json(file)
    except OSError as error:
        raise InputError(f"the split {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"the split {file} is not JSON ({error}); delete or replace it") from error
    if not isinstance(content, dict):
        raise InputError(f"the split {file} holds a {type(content).__name__}; expected an object")
    return content


def split_parts(content: Mapping[str, Any], file: Path) -> Split:
    """Take the three sorted lists out of the content of `file`.

    Raises:
        InputError: one is missing, or is no list of names.
    """
    for part in PARTS:
        cases = content.get(part)
        if not isinstance(cases, list) or not all(isinstance(case, str) for case in cases):
            raise InputError(
                f'{file} has no list of case names under "{part}"; expected the lists '
                f'{", ".join(PARTS)}, or folds under "training"'
            )
    return {part: sorted(content[part]) for part in PARTS}


def refuse_other_making(
    content: Mapping[str, Any], file: Path, settings: Mapping[str, Any]
) -> None:
    """Refuse a kept split that was not made as it is asked for now.

    Args:
        content: of the file.
        file: where it was read.
        settings: by name; None where the user asks for nothing.

    Raises:
        InputError: a setting differs.
    """
    asked = {key: value for key, value in settings.items() if value is not None}
    if "split_file" in content and asked:
        raise InputError(
            f"{file} was taken from {content['split_file']}: pass it again with --split_file, or "
            "pass another --output_dir to draw a split"
        )
    for key, value in asked.items():
        kept = content.get(key, value)
        if kept != value:
            raise InputError(
                f"{file} was made with {OPTIONS.get(key, key)} {_words(kept)}, now it is "
                f"{_words(value)}; use the old setting and data, or pass another --output_dir for "
                "a new split"
            )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{part}: {how}" for part, how in value.items()) + ")"
    return str(value)


def check_split(
    split: Split,
    names: Sequence[str],
    file: Path,
    *,
    owner_of: Callable[[str], str],
    words: tuple[str, str],
    shared_test: bool = False,
) -> None:
    """Refuse a split that does not fit.

    Args:
        split: the three parts.
        names: what there is to split.
        file: where the split was read.
        owner_of: who a name belongs to; names of one owner must lie in one part.
        words: what a name and an owner are called.
        shared_test: the validation cases are meant to be the test cases too.

    Raises:
        InputError: a part is empty, a name is unknown, missing or twice, or an owner is in two
            parts.
    """
    word, owner = words
    for part in PARTS:
        if not split[part]:
            raise InputError(f"{file}: the part {part} is empty; expected at least one {word}")
    listed = [name for part in PARTS for name in split[part]]
    for cases, verb in (
        (sorted(set(listed) - set(names)), f"holds {word}s that were not found"),
        (sorted(set(names) - set(listed)), f"lacks {word}s that were found"),
    ):
        if cases:
            raise InputError(
                f"{file} {verb}: {some(cases)}; give the data it was made for, or pass another "
                "--output_dir for a new split"
            )
    double = [name for part in PARTS for name, count in Counter(split[part]).items() if count > 1]
    if double:
        raise InputError(
            f"{file} lists these {word}s more than once: {some(double)}; list each once"
        )
    twice = _in_two_parts(split, PARTS[:2] if shared_test else PARTS, owner_of)
    if twice:
        raise InputError(
            f"{file} has the same {owner}s in two parts: {some(twice)}; results on {owner}s that "
            "were trained on mean nothing, so move each into one part"
        )


def _in_two_parts(split: Split, parts: Sequence[str], owner_of: Callable[[str], str]) -> list[str]:
    owners: dict[str, set[str]] = {}
    for part in parts:
        for name in split[part]:
            owners.setdefault(owner_of(name), set()).add(part)
    return sorted(name for name, places in owners.items() if len(places) > 1)
