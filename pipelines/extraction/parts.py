"""What is kept of an extraction that is not finished, so that it can go on after a kill?"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ...data.errors import InputError
from ...data.features.file import FeatureFile, write_features
from ...data.files import write_json
from .left_out import LeftOut, list_of_left_out


class Parts:
    """The folder ``<output>.parts``: some samples per file, each written whole or not at all.

    A part is finished when its list of left-out samples is there, which is written last.

    Args:
        output: the file that all parts become.
        settings: everything that the bytes of a part depend on.
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
        if self.folder.exists():
            differs = self._differences()
            if differs and not anew:
                raise InputError(
                    f"{self.folder} holds an unfinished extraction with other settings "
                    f"({'; '.join(differs)}); give the same settings to finish it, or --overwrite "
                    "to begin again"
                )
            if differs:
                shutil.rmtree(self.folder)
            for left in self.folder.glob(".*.tmp"):  # of a process that was killed
                left.unlink(missing_ok=True)
        if not self._note.is_file():
            write_json(self._note, self.settings)

    def is_done(self, number: int, names: Sequence[str]) -> bool:
        """Whether a part is there, undamaged, and of these samples."""
        try:
            left_out = self.left_out(number)
            stored = list(self._names(number))
        except (OSError, ValueError):  # missing, or damaged: InputError is one of these
            return False
        missing = {name for name, _ in left_out}
        return stored == [name for name in names if name not in missing]

    def write(
        self,
        number: int,
        samples: Sequence[tuple[str, np.ndarray]],
        left_out: LeftOut,
        dtype: str,
    ) -> None:
        """Store the features of a part, then note that it is finished."""
        if samples:
            write_features(self._file(number), samples, about={}, dtype=dtype)
        write_json(self._file(number).with_suffix(".json"), left_out)

    def left_out(self, number: int) -> LeftOut:
        """Give ids and reasons of the samples of a part that could not be used."""
        text = self._file(number).with_suffix(".json").read_text()
        return [(name, reason) for name, reason in json.loads(text)]

    def samples(self, count: int) -> Iterator[tuple[str, np.ndarray]]:
        """Give all features, part by part."""
        for number in range(count):
            if self._file(number).is_file():
                file = FeatureFile(self._file(number))
                yield from ((name, file.read(name)) for name in file.ids)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.h5"

    def _names(self, number: int) -> list[str]:
        if not self._file(number).is_file():
            return []
        file = FeatureFile(self._file(number))
        file.verify()
        return file.ids

    def _differences(self) -> list[str]:
        try:
            old = json.loads(self._note.read_text())
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


def _difference(name: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        return f"{name}: {', '.join(differences(old, new))}"
    if name == "samples":
        return "another table, or files that changed"
    texts = [f"{str(value)[:24]}…" if len(str(value)) > 25 else str(value) for value in (old, new)]
    return f"{name} {texts[0]}, now {texts[1]}"


@contextlib.contextmanager
def alone(output: Path) -> Iterator[None]:
    """Keep other processes off an output, and clear what a killed one left beside it.

    Raises:
        InputError: another process is at it, or its folder cannot be written.
    """
    lock = FileLock(output.with_name(f".{output.name}.lock"), timeout=0)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"another process is extracting to {output}; wait for it, or choose another output"
        ) from error
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({error.strerror}); choose another output"
        ) from error
    try:
        for path in (output, list_of_left_out(output)):
            for left in output.parent.glob(f".{escape(path.name)}.*.tmp"):
                left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
