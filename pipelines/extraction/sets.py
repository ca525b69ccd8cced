"""Feature sets of a user's own table, begun before the extraction and finished after it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.errors import InputError, some
from ...data.features.earlier import convert_earlier, earlier_files
from ...data.features.file import SUFFIX, FeatureFile, write_features
from ...data.features.header import HEADER, TASKS, read_header, write_feature_set_header
from ...data.features.table import COLUMNS, SAMPLES, read_samples, write_samples
from ...data.files import remove_leftovers, write_csv
from ...data.tables import read_rows
from .parts import alone
from .table import Sample

DROPPED = "dropped.csv"


@dataclass(frozen=True)
class SetOptions:
    """What samples.csv and dataset.json of a new feature set need beside the table.

    Args:
        name: of the data; None is the name of the folder.
        task: "classification" or "regression"; None is classification, unless all labels are
            numbers.
        classes: their order, or, for a table without labels, what they are.
        id_column: of the table.
    """

    name: str | None = None
    task: str | None = None
    classes: Sequence[str] | None = None
    id_column: str = "id"


def prepare_set(folder: str | Path, table: str | Path, options: SetOptions) -> str | None:
    """Write samples.csv and dataset.json from a table, unless the folder has them.

    Args:
        folder: of the feature set.
        table: with the columns id and, where known, label, split and group.
        options: what the table does not say.

    Returns:
        A sentence on what was written; None when nothing was.

    Raises:
        InputError: the table has no labels and nothing says what they would be, the task is not
            clear, or a label, split or class cannot be used.
    """
    folder = Path(folder)
    _clear(folder)
    if (folder / HEADER).is_file():
        check_options(folder, options)
        return None
    # A samples.csv that is there, perhaps the table itself with more columns, stays as it is.
    begun = (folder / SAMPLES).is_file()
    table, id_column = (folder / SAMPLES, "id") if begun else (table, options.id_column)
    rows = [
        {"id": row[id_column]} | {name: row.get(name, "").strip() for name in COLUMNS[1:]}
        for row in read_rows(table, (id_column,))
    ]
    labels = [row["label"] for row in rows if row["label"]]
    task = _task(labels, options, table)
    classes = list(options.classes or _sorted(set(labels))) if task == "classification" else None
    if classes is not None and len(classes) < 2:
        raise InputError(f"{table} has only the class {some(classes)}; expected at least 2")
    try:
        if not begun:
            write_samples(folder, rows)
        write_feature_set_header(
            folder,
            name=options.name or folder.resolve().name,
            task=task,
            classes=classes,
            source=f"features extracted from {Path(table).name}",
        )
        read_samples(folder, read_header(folder), labels="optional")
    except InputError:
        _undo(folder, [HEADER] if begun else [HEADER, SAMPLES])
        raise
    what = f"{len(classes)} classes" if classes else "a number to predict"
    return f"{folder}: {len(rows)} samples, {what} ({SAMPLES} and {HEADER} from {table})"


def check_options(folder: str | Path, options: SetOptions) -> None:
    """Refuse a name, task or classes that contradict those of a set that is there already.

    Raises:
        InputError: they differ; the set keeps its own.
    """
    header = read_header(folder)
    choices = {"name": options.name, "task": options.task, "classes": options.classes}
    for key, value in choices.items():
        value = list(value) if isinstance(value, (list, tuple)) else value
        if value and value != header.get(key):
            raise InputError(
                f"{Path(folder) / HEADER} has the {key} {header.get(key)}, --{key} says {value}: "
                f"leave --{key} out, or begin another set"
            )


def check_members(folder: str | Path, samples: Sequence[Sample]) -> None:
    """Refuse samples none of which is in the feature set they are for.

    Raises:
        InputError: no id is in samples.csv.
    """
    header = read_header(folder)
    ids = read_samples(folder, header, labels="optional").ids
    if not {sample.name for sample in samples} & set(ids):
        raise InputError(
            f"none of the ids ({some([s.name for s in samples], 3)}) is in "
            f"{Path(folder) / SAMPLES} ({some(ids, 3)}); give the table with the same ids"
        )


def finish_set(folder: str | Path) -> str:
    """Keep, in samples.csv and in every file, the samples that all modalities have.

    Samples that are dropped are listed in dropped.csv. Doing it again changes nothing. Files of the
    version before, in HDF5, are converted first and kept.

    Returns:
        A sentence on what was dropped.

    Raises:
        InputError: the folder is no feature set, or no sample is in all modalities.
    """
    folder = Path(folder)
    _clear(folder)
    # Only for its checks: it gives numbers in place of class names.
    read_samples(folder, read_header(folder), labels="optional")
    rows = read_rows(folder / SAMPLES, COLUMNS[:2])
    for path in earlier_files(folder):
        convert_earlier(path)
    paths = sorted(path for path in folder.glob(f"*{SUFFIX}") if path.name[0] != ".")
    if not paths:
        raise InputError(f"{folder} has no features yet; extract them with --set {folder}")
    files = {path.stem: FeatureFile(path) for path in paths}
    kept = [row for row in rows if all(row["id"] in file for file in files.values())]
    if not kept:
        raise InputError(f"{folder}: no sample is in all of {', '.join(files)}; check the ids")
    here = {row["id"] for row in kept}
    dropped = {
        row["id"]: [name for name, file in files.items() if row["id"] not in file]
        for row in rows
        if row["id"] not in here
    }
    for file in files.values():
        _restrict(file, [row["id"] for row in kept])
    if not dropped:
        return f"{folder}: all {len(kept)} samples have {', '.join(files)}"
    _write_dropped(folder / DROPPED, dropped)
    lost = _drop_classes(folder, {row["label"] for row in kept})
    write_csv(folder / SAMPLES, kept)
    return (
        f"{folder}: {len(kept)} samples have {', '.join(files)}; {len(dropped)} dropped, listed in "
        f"{folder / DROPPED}: {some(list(dropped))}{lost}"
    )


def _undo(folder: Path, names: Sequence[str]) -> None:
    """Remove what was written, and the folder when nothing else is in it."""
    with contextlib.suppress(OSError):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _clear(folder: Path) -> None:
    for name in (SAMPLES, HEADER, DROPPED):
        remove_leftovers(folder / name)


def _restrict(file: FeatureFile, names: list[str]) -> None:
    """Rewrite a file that has other samples than these."""
    if set(file.ids) == set(names):
        return
    with alone(file.path):
        write_features(
            file.path,
            ((name, file.read(name)) for name in names),
            about=file.about,
            dtype=str(file.dtype),
        )


def _drop_classes(folder: Path, labels: set[str]) -> str:
    """Take classes that have lost all their samples out of the header."""
    header = read_header(folder)
    classes = header.get("classes")
    # Where some samples have no label, they may be of any class.
    if not classes or "" in labels or set(classes) <= labels:
        return ""
    kept = [name for name in classes if name in labels]
    header.pop("format")
    write_feature_set_header(folder, **{**header, "classes": kept})
    return f"; classes without samples taken out: {some([n for n in classes if n not in kept])}"


def _write_dropped(path: Path, dropped: dict[str, list[str]]) -> None:
    # Those of an earlier run are in no other file any more.
    earlier = read_rows(path, ("id", "lacks")) if path.is_file() else []
    lacks = {row["id"]: row["lacks"] for row in earlier}
    lacks |= {name: " ".join(modalities) for name, modalities in dropped.items()}
    write_csv(path, [{"id": name, "lacks": modalities} for name, modalities in lacks.items()])


def _task(labels: Sequence[str], options: SetOptions, table: str | Path) -> str:
    if options.task is not None and options.task not in TASKS:
        raise InputError(f"task is {options.task!r}; it is {' or '.join(TASKS)}")
    if options.task == "regression" or options.classes:
        return options.task or "classification"
    if not labels:
        raise InputError(
            f"{table} has no labels: add a column 'label', or, for samples to predict, say "
            "--task regression or --classes NAME NAME …"
        )
    if options.task is None and all(map(_is_number, labels)):
        raise InputError(
            f"all labels in {table} are numbers: say --task classification or --task regression"
        )
    return options.task or "classification"


def _sorted(names: set[str]) -> list[str]:
    return sorted(names, key=lambda name: (float(name), "") if _is_number(name) else (0.0, name))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
