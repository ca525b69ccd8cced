"""Table 7: with which hyperparameters does ``--budget paper`` train, and which has the paper?"""

from __future__ import annotations

import json
from typing import Any

from ..experiments.bundles import open_bundle
from .pieces import TablePiece
from .published_rest import RECIPES
from .tables import Cell, Table

WORDS = {
    "batch_size": "batch size",
    "optimizer": "optimizer",
    "lr": "base learning rate",
    "classifier_lr": "classifier learning rate",
    "weight_decay": "weight decay",
    "max_norm": "gradient clip",
    "scheduler": "scheduler",
    "rho": "ρ",
    "lam": "λ",
    "warmup_epochs": "warm-up epochs",
    "epochs": "epochs",
}
_NAMES = {"food101": "Food 101", "mosi": "MOSI", "iemocap": "IEMOCAP", "brats": "BraTS"}
_SCHEDULERS = {"warmup_cosine": "CosineLR"}


def recipe(bundle: str) -> dict[str, Any]:
    """A bundle's settings with its ``paper.json``, under the names of Table 7."""
    opened = open_bundle(bundle)
    overlay = json.loads((opened.folder / "paper.json").read_text())
    content = {**opened.train, **overlay}
    classes = {k: content[k]["_target_"].rpartition(".")[2] for k in ("optimizer", "scheduler")}
    classes["scheduler"] = _SCHEDULERS.get(classes["scheduler"], classes["scheduler"])
    return {name: classes.get(name, content.get(name)) for name in WORDS}


def recipe_table(name: str) -> TablePiece:
    """A row per hyperparameter; ours and the paper's side by side."""
    ours = {bundle: recipe(bundle) for bundle in RECIPES}
    head = ["hyperparameter"]
    for bundle in RECIPES:
        head += [_NAMES[bundle], "paper"]
    rows, numbers = [], []
    for key, word in WORDS.items():
        cells = [Cell(word)]
        for bundle, theirs in RECIPES.items():
            mine = ours[bundle][key] or None  # a weight decay of 0 is the paper's "-"
            cells += [Cell(_text(mine)), Cell(_text(theirs[key]))]
            numbers.append(
                {"hyperparameter": key, "bundle": bundle}
                | {"ours": _text(mine), "published": _text(theirs[key])}
            )
        rows.append(cells)
    caption = [
        "Settings of each bundle's paper.json, which --budget paper trains with, beside Table 7 of "
        "the CGGM paper. Smaller budgets train with other settings; the tables tell which."
    ]
    return TablePiece(
        name, Table("Hyperparameters of the paper's recipes", caption, head, rows), numbers
    )


def _text(value: float | str | None) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:g}"
