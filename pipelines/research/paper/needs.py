"""The runs that each table and each figure of the paper needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....data.errors import InputError
from ..experiments.bundles import open_bundle
from ..experiments.grid import plan
from ..experiments.run import Run
from ..report.ablation_table import SETTINGS
from ..report.sweep_figure import SWEEPS
from .budgets import Budget

EVERY = "*"
GRADIENTS, ABLATION = "gradients", "ablation"
BOUNDED = "cggm, bounded rule"  # beside "cggm", which is eq. 7 to the letter

# Item to (bundle or bundle and further grid, methods); None is all of them.
NEEDS: dict[str, list[tuple[str, tuple[str, ...] | None]]] = {
    "table2": [("food101", None)],
    "table3": [("brats", None)],
    "table4": [("mosi", None), ("iemocap", None)],
    "table5": [("iemocap", ("unimodal", "joint", "cggm"))],
    "table6": [("iemocap", ("joint",)), ("iemocap ablation", None)],
    "table7": [],
    "table8": [],
    "figure2": [("mosi", ("joint",))],
    "figure3": [("mosi", ("cggm",))],
    "figure4": [(f"{name} gradients", None) for name in ("food101", "mosi", "iemocap", "brats")],
    "figure5": [
        ("iemocap", ("joint",)),
        *((f"iemocap {word}", None) for word in SWEEPS.values()),
    ],
    "figure6": [("mosi", ("joint", "cggm"))],
    "figure7": [("mosi", ("cggm",))],
}


def check_items(words: str | None) -> list[str]:
    """Items that the user named, such as "table6,figure5", in the order of the report.

    Args:
        words: separated by commas; None for all.

    Raises:
        InputError: the paper has none of this name.
    """
    items = list(NEEDS) if words is None else [word.strip() for word in words.split(",")]
    wrong = [item for item in items if item not in NEEDS]
    if wrong:
        raise InputError(f"--only has {wrong[0]!r}; expected some of {', '.join(NEEDS)}")
    return [item for item in NEEDS if item in items]


def runs_for(items: Sequence[str], budget: Budget) -> list[Run]:
    """All runs that these tables and figures need, each once.

    Raises:
        InputError: a setting is wrong.
    """
    wanted: dict[str, set[str]] = {}
    for item in items:
        for data, methods in NEEDS[item]:
            wanted.setdefault(data, set()).update(methods or (EVERY,))
    runs = []
    for data, grid in _grids(budget).items():
        if data in wanted:
            names = wanted[data]
            runs += [r for r in plan(grid).runs if EVERY in names or _name(r) in names]
    return runs


def _name(run: Run) -> str:
    if run.label == BOUNDED:
        return BOUNDED
    return "unimodal" if run.single else run.method


def _grids(budget: Budget) -> dict[str, dict[str, Any]]:
    """A grid per label of data; each gives a folder of runs."""
    grids = {}
    for bundle, given in budget.settings.items():
        papers = papers_cggm(bundle)
        own = papers | {name: value for name, value in given.items() if name in papers}
        common = {name: value for name, value in given.items() if name not in own}
        cggm = {"name": "cggm", "settings": own}
        methods = [cggm if name == "cggm" else name for name in budget.methods[bundle]]
        methods.append(_cggm(BOUNDED, {**own, "rule": "bounded"}))
        grids[bundle] = _grid(bundle, bundle, methods, budget.seeds, common)
        if bundle == "iemocap":
            for label, methods in _studies(budget, own).items():
                grids[label] = _grid(bundle, label, methods, budget.seeds, common)
        label = f"{bundle} {GRADIENTS}"
        every = {**common, "record_gradients": budget.gradients[bundle]}
        grids[label] = _grid(bundle, label, [cggm], 1, every)
    return grids


def papers_cggm(bundle: str) -> dict[str, Any]:
    """CGGM as the paper has it: the entries of a bundle's paper.json that only CGGM reads."""
    opened = open_bundle(bundle)
    read = {*opened.train["methods"]["cggm"].values(), "@score"}
    return {name: value for name, value in opened.recipe.items() if f"@{name}" in read}


def _studies(budget: Budget, own: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Ablation and sweeps, which the paper has on IEMOCAP."""
    ablation = [_cggm(key, {**own, **change}) for key, change in SETTINGS.items()]
    sweeps = {
        f"iemocap {SWEEPS[setting]}": [
            _cggm(f"{setting} {value:g}", {**own, setting: value}) for value in values
        ]
        for setting, values in {"rho": budget.rhos, "lam": budget.lams}.items()
    }
    return {f"iemocap {ABLATION}": ablation, **sweeps}


def _cggm(label: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "cggm", "as": label, "settings": dict(settings)}


def _grid(
    bundle: str, label: str, methods: list[Any], seeds: int, settings: Mapping[str, Any]
) -> dict[str, Any]:
    entry = {"name": bundle, "as": label, "settings": dict(settings)}
    return {"bundle": entry, "methods": methods, "seeds": seeds}
