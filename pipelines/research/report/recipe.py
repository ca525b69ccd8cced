"""Whether a row was trained by the paper's recipe, its bundle's ``paper.json``."""

from __future__ import annotations

from collections.abc import Collection

from monai.bundle import ConfigParser

from ..experiments.bundles import open_bundle
from .collect import Row

ONLY = ", beside runs of its recipe (paper.json) only."  # of captions
# They change how long a training takes, or how often it is looked at.
_BESIDE = ("num_workers", "val_interval")


def follows_recipe(row: Row, bundle: str, besides: Collection[str] = ()) -> bool:
    """Whether all settings that concern a row's method are those of ``paper.json``.

    Args:
        row: with the settings that its grid gave.
        bundle: its name.
        besides: settings that may be others.
    """
    opened = open_bundle(bundle)
    recipe = opened.recipe
    taken = ConfigParser({**opened.train, **row.settings, **row.own, "method": row.method})
    return all(
        taken.get_parsed_content(name) == value
        for name, value in recipe.items()
        if name not in (*_BESIDE, *besides)
        and (row.method in (users := opened.users(name)) or not users)
    )
