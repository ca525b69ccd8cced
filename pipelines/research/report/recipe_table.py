"""Table 7: the hyperparameters of ``--budget paper`` beside the paper's."""

from __future__ import annotations

from typing import Any

from ..experiments.bundles import open_bundle
from .pieces import NONE, Cell, Table, TablePiece
from .published import paper_table

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
_CAPTION = (
    "Settings of each bundle's paper.json, which --budget paper trains with, beside Table 7 of "
    "the CGGM paper. Smaller budgets train with other settings; the tables tell which."
)


def recipe(bundle: str) -> dict[str, Any]:
    """A bundle's settings with its ``paper.json``, under the names of Table 7."""
    opened = open_bundle(bundle)
    content = {**opened.train, **opened.recipe}
    classes = {k: content[k]["_target_"].rpartition(".")[2] for k in ("optimizer", "scheduler")}
    classes["scheduler"] = _SCHEDULERS.get(classes["scheduler"], classes["scheduler"])
    return {name: classes.get(name, content.get(name)) for name in WORDS}


def recipe_table(name: str) -> TablePiece:
    """A row per hyperparameter; ours and the paper's side by side."""
    published = paper_table("table7")
    ours = {bundle: recipe(bundle) for bundle in _NAMES}
    numbers: list[dict[str, Any]] = []
    rows = []
    for key, word in WORDS.items():
        row = [Cell(word)]
        for bundle in _NAMES:
            values = {"ours": _text(ours[bundle][key]), "published": published[bundle][key]}
            row += [Cell(text) for text in values.values()]
            numbers.append({"hyperparameter": key, "bundle": bundle, **values})
        rows.append(row)
    head = ["hyperparameter", *(word for name in _NAMES.values() for word in (name, "paper"))]
    table = Table("Hyperparameters of the paper's recipes", [_CAPTION], head, rows)
    return TablePiece(name, table, numbers)


def _text(value: float | str | None) -> str:
    if not value:  # a weight decay of 0 is the paper's "–"
        return NONE.text
    return value if isinstance(value, str) else f"{value:g}"
