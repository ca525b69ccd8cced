"""Small feature sets on disk, the same in every run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cggm.data.features.feature_set import write_feature_set_header, write_samples
from cggm.data.features.file import write_features

CLASSES = ["pie", "soup", "tea"]
WIDTHS = {"image": 4, "text": 3}


def sequences(
    names: Sequence[str], width: int = 3, lengths: tuple[int, int] = (1, 6), seed: int = 0
) -> dict[str, np.ndarray]:
    """One sequence of random vectors per name."""
    draws = np.random.default_rng(seed)
    return {
        name: draws.normal(size=(draws.integers(*lengths), width)).astype(np.float32)
        for name in names
    }


def rows_of(samples: int, task: str = "classification") -> list[dict[str, Any]]:
    """Rows of samples.csv without split; classes come in turns, values go from -3 to 3."""
    values = np.round(np.linspace(-3, 3, samples), 3).tolist()
    labels = [CLASSES[number % 3] for number in range(samples)]
    return [
        {"id": f"s{number:03}", "label": labels[number] if task != "regression" else values[number]}
        for number in range(samples)
    ]


def feature_set(
    folder: Path,
    rows: list[dict[str, Any]] | int = 6,
    *,
    task: str = "classification",
    widths: dict[str, int] = WIDTHS,
) -> Path:
    """Write a whole feature set."""
    rows = rows_of(rows, task) if isinstance(rows, int) else rows
    classes = CLASSES if task == "classification" else None
    write_feature_set_header(folder, name="three dishes", task=task, classes=classes)
    write_samples(folder, rows)
    names = [row["id"] for row in rows]
    for seed, (modality, width) in enumerate(widths.items()):
        samples = sequences(names, width, seed=seed)
        write_features(folder / f"{modality}.npy", samples.items(), about={"model": "none"})
    return folder


def edit_header(folder: Path, **changes: object) -> None:
    """Change entries of dataset.json, whatever sense they make; None deletes."""
    path = folder / "dataset.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
