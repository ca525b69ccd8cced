"""A folder of synthetic cases: made, continued and checked."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from ..errors import InputError
from ..files import read_json, write_text
from ..processes import cores, end_with_parent
from .cases import GENERATOR_VERSION, Record, read_record, write_case
from .grid import COARSEST, FINEST
from .readme import README

MANIFEST = "cases.json"
OURS = re.compile(r"Phantom_(\d{5})|cases\.json|README\.txt|\..*")


def generate(
    folder: str | os.PathLike[str],
    *,
    cases: int = 48,
    seed: int = 0,
    spacing: float = 2.0,
    workers: int | None = None,
    progress: bool = False,
) -> Path:
    """Make a folder of synthetic gliomas in the layout of BraTS 2021; nothing is downloaded.

    The same seed gives the same files, whatever the number of cases and workers. A finished
    folder returns at once, an interrupted or damaged one is completed, and several processes
    may make the same folder at the same time.

    Args:
        folder: where the case folders `Phantom_00000`, ... go; made if missing.
        cases: how many.
        seed: of all random numbers, not negative.
        spacing: voxel edge in mm, 1 to 4; 1.0 gives the 240 x 240 x 155 voxels of BraTS.
        workers: processes; by default one per processor, at most 8. 1 starts none.
        progress: show a bar.

    Returns:
        The folder.

    Raises:
        InputError: a bad argument, a folder that cannot be written, or one that holds anything
            but phantoms of the same seed, spacing and generator.
    """
    _check_arguments(cases, seed, spacing, workers)
    root, spacing = Path(folder), float(spacing)
    try:
        _check_folder(root, cases, seed, spacing)
        records = {k: read_record(root, seed, k, spacing) for k in range(cases)}
        missing = [k for k, record in records.items() if record is None]
        settings = _settings(cases, seed, spacing)
        if not missing and _finished(root, settings, [records[k] for k in range(cases)]):
            return root
        root.mkdir(parents=True, exist_ok=True)
        write_text(root / "README.txt", README.format(seed=seed, spacing=spacing, cases=cases))
        made = _make(root, seed, spacing, missing, workers)
        bar = tqdm(made, "Phantoms", len(missing), disable=None if progress else True, unit="case")
        records.update(dict(bar))
        manifest = {**settings, "cases": [records[k] for k in range(cases)]}
        write_text(root / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    except OSError as error:
        raise InputError(
            f"the folder {root} for the synthetic cases cannot be written "
            f"({error.strerror or error}): give another folder or free its disk"
        ) from error
    return root


def is_synthetic(folder: Path) -> bool:
    """Whether the cases of a folder were made by this generator."""
    return _read(folder / MANIFEST).get("synthetic") is True


def _check_arguments(cases: int, seed: int, spacing: float, workers: int | None) -> None:
    """Refuse numbers that make no set."""
    if not 1 <= cases <= 100_000:
        raise InputError(f"cases is {cases}; expected 1 to 100000")
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    if not FINEST <= spacing <= COARSEST:
        raise InputError(f"spacing is {spacing}; expected {FINEST} to {COARSEST} mm")
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; expected 1 or more")


def _settings(cases: int, seed: int, spacing: float) -> Record:
    """What identifies a set, as written at the top of the manifest."""
    return {
        "synthetic": True,
        "generator": GENERATOR_VERSION,
        "seed": seed,
        "spacing": spacing,
        "number": cases,
    }


def _check_folder(root: Path, cases: int, seed: int, spacing: float) -> None:
    """Never mix synthetic cases with other files or with cases of other settings."""
    if not root.is_dir():
        return  # made later, or an OSError then
    foreign = sorted(p.name for p in root.iterdir() if not OURS.fullmatch(p.name))
    if foreign:
        raise InputError(
            f"{root} holds {foreign[0]!r}, which is no synthetic case: give a folder that is "
            "empty or was made by this generator"
        )
    settings = {"generator": GENERATOR_VERSION, "seed": seed, "spacing": spacing}
    for record in sorted(root.glob("Phantom_*/Phantom_*.json")):
        if int(record.stem[8:]) >= cases:
            raise InputError(
                f"{root} holds {record.stem}, but {cases} cases are asked for: ask for more cases, "
                "delete the folder or give another one"
            )
        for key, value in settings.items():
            made = _read(record).get(key, value)
            if made != value:
                raise InputError(
                    f"{record.stem} in {root} was made with {key} {made}, but {key} {value} is "
                    "asked for: delete the folder or give another one"
                )


def _read(path: Path) -> Record:
    """A JSON object, empty if the file is damaged (its case is then made again)."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _finished(root: Path, settings: Record, records: list[Record | None]) -> bool:
    """Whether the manifest and the README belong to exactly these cases."""
    return (root / "README.txt").is_file() and _read(root / MANIFEST) == {
        **settings,
        "cases": records,
    }


def _make(
    root: Path, seed: int, spacing: float, missing: list[int], workers: int | None
) -> Iterator[tuple[int, Record]]:
    """Make the missing cases in processes, or here if there is one worker or none can start."""
    count = min(workers or min(cores(), 8), len(missing))
    left = set(missing)
    if count > 1:
        try:
            for index, record in _make_in_processes(root, seed, spacing, missing, count):
                left.discard(index)
                yield index, record
        except BrokenProcessPool:
            pass  # a script without `if __name__ == "__main__"`, or a worker that was killed
    for index in sorted(left):
        yield _make_one(root, seed, index, spacing)


def _make_in_processes(
    root: Path, seed: int, spacing: float, missing: Iterable[int], count: int
) -> Iterator[tuple[int, Record]]:
    """Spawned and not forked processes: the caller may already run threads or hold a GPU."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, end_with_parent) as pool:
        jobs = [pool.submit(_make_one, root, seed, index, spacing) for index in missing]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            for job in jobs:
                job.cancel()


def _make_one(root: Path, seed: int, index: int, spacing: float) -> tuple[int, Record]:
    """Index and record of a case, made unless another process has made it meanwhile."""
    record = read_record(root, seed, index, spacing)
    return index, record or write_case(root, seed, index, spacing)
