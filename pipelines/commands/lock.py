"""The lock that keeps a second training out of an output folder."""

from __future__ import annotations

from pathlib import Path

from ...data.locks import lock_for_good

LOCK = ".training.lock"


def keep_others_out(folder: str | Path) -> None:
    """Refuse other trainings in a folder for as long as this process lives, however it ends.

    Args:
        folder: the output folder of a training.

    Raises:
        InputError: another process trains into it, or it cannot be written.
    """
    folder = Path(folder).resolve()
    lock_for_good(
        folder / LOCK,
        f"another training writes into {folder}: wait until it has ended, or pass another "
        "--output_dir",
        what="the output folder",
        remedy="pass another one with --output_dir",
    )
