"""Foods of the Indian Food Composition Tables 2017, by photo, name and nutrients."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ....data.files import digest_of
from .packages import COMPOSITIONS, PICTURES, Files
from .stand_in import StandIn, groups, large_classes

NAME = "IFCT 2017 foods"
FILES = {
    PICTURES: Files("package/assets/", ("*.jpeg",)),
    COMPOSITIONS: Files("package/", ("index.csv",)),
}
LEAST = 14
# Columns from here on are nutrients; those whose code ends in _e are their errors.
_FIRST_NUTRIENT = "enerc"


def read(pictures: Path, compositions: Path, root: Path) -> StandIn:
    """List the foods of the groups with at least 14 of them.

    The class of a food is its food group. Cuts of one animal share its photo, so foods with the
    same photo are one group.

    Args:
        pictures: the unpacked photos.
        compositions: the unpacked tables.
        root: paths in the table are relative to this folder.
    """
    with open(compositions / "index.csv", encoding="utf-8", newline="") as file:
        header, *table = csv.reader(file)
    codes = [name.rpartition("; ")[2] for name in header]
    foods = [dict(zip(codes, cells, strict=True)) for cells in table]
    photos = [pictures / f"{food['code']}.jpeg" for food in foods]
    rows = [
        {
            "id": food["code"],
            "label": food["grup"],
            "image": photo.relative_to(root).as_posix(),
            "text": _text(food),
            "photo": digest_of(photo),
        }
        for food, photo in zip(foods, photos, strict=True)
        if photo.is_file()
    ]
    kept = large_classes(rows, LEAST)
    for row, group in zip(kept, groups([row.pop("photo") for row in kept]), strict=True):
        row["group"] = group
    nutrients = codes[codes.index(_FIRST_NUTRIENT) :]
    codes = {row["id"] for row in kept}
    return StandIn(
        name=NAME,
        task="classification",
        packages=list(FILES),
        description=(
            "A food: photo, English and Latin name and, where asked for, nutrients per 100 g "
            "(log(1 + x)); the label is its food group."
        ),
        rows=kept,
        kinds={"image": "image", "text": "text"},
        vectors={
            "nutrients": {
                food["code"]: _vector(food, [code for code in nutrients if code[-2:] != "_e"])
                for food in foods
                if food["code"] in codes
            }
        },
        optional=("nutrients",),
        left_out={
            "without a photo": len(foods) - len(rows),
            f"of a food group with fewer than {LEAST}": len(rows) - len(kept),
        },
    )


def _text(food: dict[str, str]) -> str:
    return f"{food['name']} ({food['scie']})" if food["scie"].strip() else food["name"]


def _vector(food: dict[str, str], nutrients: list[str]) -> np.ndarray:
    values = np.array([float(food[code] or 0) for code in nutrients], dtype=np.float32)
    return np.log1p(values)[None]
