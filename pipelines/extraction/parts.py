"""Finished parts of an extraction, so that it goes on after a kill, and what it left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ...data.errors import InputError
from ...data.files import read_json, remove_leftovers, whole_file, write_csv, write_json
from ...data.locks import lock_or_refuse
from ...data.tables import read_rows

# Ids and reasons.
LeftOut = list[tuple[str, str]]
# The features of a sample, or why it has none.
Outcome = np.ndarray | str


class Parts:
    """The folder ``<output>.parts``: some samples per file, each written whole or not at all.

    Args:
        output: the file that all parts become.
        settings: everything that the bytes of a part depend on, the samples included.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        self.folder = output.with_name(f"{output.name}.parts")
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self._note = self.folder / "settings.json"

    def open(self, *, anew: bool) -> None:
        """Go on with parts of the same settings, or begin.

        Args:
            anew: throw away parts of other settings instead of refusing to go on.

        Raises:
            InputError: there are parts of other settings, or the folder cannot be written.
        """
        changes = self._changes() if self.folder.exists() else []
        if changes and not anew:
            raise InputError(
                f"{self.folder} holds an unfinished extraction with other settings "
                f"({'; '.join(changes)}); give the same settings to finish it, or --overwrite to "
                "begin again"
            )
        if changes:
            shutil.rmtree(self.folder)
        if not self._note.is_file():
            write_json(self._note, self.settings)

    def is_done(self, number: int) -> bool:
        """Whether a part is there and undamaged; the archive has a checksum of its own."""
        try:
            self.read(number)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return False
        return True

    def write(self, number: int, outcomes: Sequence[Outcome]) -> None:
        """Store what became of the samples of a part, in their order."""
        features = [outcome for outcome in outcomes if not isinstance(outcome, str)]
        with whole_file(self._file(number)) as path, open(path, "wb") as file:
            np.savez(
                file,
                values=np.concatenate(features) if features else np.zeros((0, 0)),
                lengths=np.array([len(array) for array in features], dtype=np.int64),
                reasons=np.array([o if isinstance(o, str) else "" for o in outcomes]),
            )

    def read(self, number: int) -> list[Outcome]:
        """Read a part as it was written.

        Raises:
            OSError, ValueError, KeyError, EOFError, BadZipFile: it is missing or damaged.
        """
        with np.load(self._file(number), allow_pickle=False) as part:
            features = iter(np.split(part["values"], np.cumsum(part["lengths"])[:-1]))
            return [reason or next(features) for reason in part["reasons"].tolist()]

    def reasons(self, number: int) -> list[str]:
        """Say why each sample of a part has no features; empty for those that have some."""
        with np.load(self._file(number), allow_pickle=False) as part:
            return part["reasons"].tolist()

    def features(self, names: Sequence[Sequence[str]]) -> Iterator[tuple[str, np.ndarray]]:
        """Give the features of all parts, one part in memory at a time.

        Args:
            names: of the samples of each part.
        """
        for number, part in enumerate(names):
            for name, outcome in zip(part, self.read(number), strict=True):
                if not isinstance(outcome, str):
                    yield name, outcome

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.npz"

    def _changes(self) -> list[str]:
        try:
            old = read_json(self._note)
        except FileNotFoundError:
            # Killed before the first part; anything else in there is not ours to delete.
            empty = all(path.name.startswith(".") for path in self.folder.iterdir())
            return [] if empty else ["settings.json is missing"]
        except (OSError, ValueError):
            return ["settings.json is damaged"]
        return differences(old, self.settings)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name the settings that differ, with their values where these are short.

    >>> differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    ['b 2, now 3', 'c None, now 4']
    """
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [_difference(name, old.get(name), new.get(name)) for name in names]


def alone(output: Path) -> AbstractContextManager[None]:
    """Keep other processes off an output.

    Raises:
        InputError: another process is at it, or its folder cannot be written.
    """
    return lock_or_refuse(
        output.with_name(f".{output.name}.lock"),
        f"another process is extracting to {output}; wait for it, or choose another output",
        remedy="choose another output",
    )


def list_of_left_out(output: Path) -> Path:
    """Give the table that lists the samples without features: ``<stem>.left_out.csv``."""
    return output.with_name(f"{output.stem}.left_out.csv")


def write_left_out(output: Path, left_out: LeftOut) -> None:
    """Write the table, or remove that of an earlier run when nothing was left out."""
    path = list_of_left_out(output)
    if left_out:
        write_csv(path, [{"id": name, "reason": reason} for name, reason in left_out])
        return
    remove_leftovers(path)
    with suppress(FileNotFoundError):
        path.unlink()


def read_left_out(output: Path) -> LeftOut:
    """Read the table; no table means that nothing was left out."""
    path = list_of_left_out(output)
    if not path.is_file():
        return []
    return [(row["id"], row["reason"]) for row in read_rows(path, ("id", "reason"))]


def _difference(name: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        return f"{name}: {', '.join(differences(old, new))}"
    if name == "samples":
        return "another table, or files that changed"
    texts = [f"{str(value)[:24]}…" if len(str(value)) > 25 else str(value) for value in (old, new)]
    return f"{name} {texts[0]}, now {texts[1]}"
