"""The conversion of many cases into a slice store: of those outdated, if they fit on the disk."""

import logging
import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path

import nibabel
from tqdm import tqdm

from ..errors import InputError
from ..files import remove_leftovers
from ..processes import cores, end_with_parent
from .case_folder import convert_case, refuse_foreign, stale_reason
from .cases import Case

_LOG = logging.getLogger(__name__)
_BOX_SHARE = 0.5  # a brain fills about 0.4 of the box of a 240 x 240 x 155 BraTS volume


def convert_cases(
    cases: Sequence[Case],
    folder: Path,
    sequences: tuple[str, ...],
    *,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Give every case an up-to-date folder below `folder`; `SliceStore.build` says how.

    Raises:
        InputError: cases that cannot be used, all of them named (the others are converted
            first); or a folder that cannot be written or is too full.
    """
    _prepare_folder(folder, _checked_names(cases))
    waiting = _outdated(cases, folder, sequences)
    _refuse_full_disk(waiting, folder, len(sequences))
    convert = partial(convert_case, folder=folder, sequences=sequences)
    processes = max(1, min(workers or min(cores(), 8), len(waiting)))
    with tqdm(
        total=len(waiting), desc="converting", unit="case", disable=None if progress else True
    ) as bar:
        broken = _convert_all(convert, waiting, processes, bar.update)
    if any(folder.glob(".*.tmp")):  # of workers that outlived an earlier command for a moment
        for case in cases:
            remove_leftovers(folder / case.name)
    if broken:
        count = f"{len(broken)} of {len(cases)} cases cannot be used: "
        raise InputError((count if len(cases) > 1 else "") + "\n".join(sorted(broken)))


def _checked_names(cases: Sequence[Case]) -> list[str]:
    names = sorted(case.name for case in cases)
    if not names:
        raise InputError("there is no case to convert; expected at least one")
    for name, following in zip(names, [*names[1:], None], strict=True):
        if name == following:
            raise InputError(f"two cases are called {name!r}; give one of them another name")
        if name.startswith(".") or Path(name).name != name or "\\" in name or "\0" in name:
            raise InputError(f"{name!r} cannot be the name of a folder; rename the case")
    return names


def _prepare_folder(folder: Path, names: list[str]) -> None:
    """Create the store; refuse a folder that holds other data."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the slice store {folder} cannot be created: {error.strerror}; choose another folder"
        ) from error
    for name in names:
        refuse_foreign(folder / name)


def _outdated(cases: Sequence[Case], folder: Path, sequences: tuple[str, ...]) -> list[Case]:
    waiting = []
    for case in cases:
        target = folder / case.name
        if reason := stale_reason(case, target, sequences):
            if target.exists():
                _LOG.warning("%s is converted again: %s", case.name, reason)
            waiting.append(case)
    return waiting


def _refuse_full_disk(cases: Sequence[Case], folder: Path, sequences: int) -> None:
    """Compare the space that the cases will take with what is free."""
    needed = 0.0
    for case in cases:
        path = next(iter(case.images.values())).path
        # A file that cannot be read is reported by its conversion, with the reason.
        with suppress(Exception):
            shape = nibabel.load(path).shape[:3]  # pyright: ignore[reportAttributeAccessIssue]
            needed += math.prod(shape) * (2 * sequences + 1) * _BOX_SHARE
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the slice store {folder} needs about {needed / 1e9:.1f} GB for {len(cases)} cases, "
            f"but only {free / 1e9:.1f} GB are free; free some space or choose another folder"
        )


def _convert_all(
    convert: Callable[[Case], str | None],
    cases: Sequence[Case],
    processes: int,
    advance: Callable[[], object],
) -> list[str]:
    """Convert every case and return one sentence for each that cannot be used."""
    messages = []
    if processes == 1:
        for case in cases:
            messages.append(convert(case))
            advance()
        return [message for message in messages if message]
    pool = ProcessPoolExecutor(processes, initializer=end_with_parent)
    try:
        for future in as_completed([pool.submit(convert, case) for case in cases]):
            messages.append(future.result())
            advance()
    except BrokenProcessPool as error:
        raise InputError(
            "a conversion process was killed, most likely because the memory was full; "
            f"convert with fewer than {processes} workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    return [message for message in messages if message]
