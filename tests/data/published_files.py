"""Small files in the layouts in which CMU-MOSI, IEMOCAP and UPMC-Food 101 are distributed."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

WIDTHS = {"text": 6, "audio": 4, "vision": 5}
PARTS = {"train": 6, "valid": 3, "test": 4}
EMOTIONS = ("angry", "happy", "neutral", "sad")
FOODS = ("apple_pie", "sushi", "waffles")


def mosi(*, steps: int = 8, style: str = "mult") -> dict[str, Any]:
    """A dictionary as MulT or MMSA pickle it; texts are padded in front, the others behind."""
    random, video = np.random.default_rng(0), 0
    content: dict[str, Any] = {}
    for part, count in PARTS.items():
        arrays = {n: np.zeros((count, steps, width), np.float32) for n, width in WIDTHS.items()}
        lengths = random.integers(2, steps, count)
        for row, length in enumerate(lengths):
            arrays["text"][row, steps - length :] = random.normal(size=(length, WIDTHS["text"]))
            arrays["audio"][row, :length] = random.normal(size=(length, WIDTHS["audio"]))
            arrays["vision"][row, :length] = random.normal(size=(length, WIDTHS["vision"]))
        values = random.uniform(-3, 3, count).astype(np.float32)
        videos = [f"-vid{video + row // 2}" for row in range(count)]
        video += count
        if style == "mult":
            ids = np.array([[v, f"{i}.5", f"{i + 1}.5"] for i, v in enumerate(videos)], dtype="S")
            content[part] = arrays | {"labels": values.reshape(-1, 1, 1), "id": ids}
        else:
            content[part] = arrays | {
                "regression_labels": values,
                "id": [f"{name}$_${row}" for row, name in enumerate(videos)],
                "raw_text": ["A text."] * count,
                "annotations": np.array(["Positive"] * count, dtype=object),
                "text_bert": np.zeros((count, 3, steps)),
                "audio_lengths": lengths.tolist(),
                "vision_lengths": lengths.tolist(),
            }
    return content


def write_mosi(path: Path, content: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(mosi() if content is None else content, 4))
    return path


def write_iemocap(root: Path, *, folds: int = 2, statistics: bool = True) -> Path:
    """Two speakers in each of three sessions, four utterances each; folds leave out a session."""
    random = np.random.default_rng(0)
    names = [
        f"Ses0{session}{'FM'[take % 2]}_impro0{take}_{speaker}00{take}"
        for session in (1, 2, 3)
        for speaker in "FM"
        for take in range(4)
    ]
    labels = np.tile(np.eye(4), (6, 1))
    for letter, name, width in (("A", "comparE", 7), ("V", "denseface", 5), ("L", "bert_large", 6)):
        (root / letter).mkdir(parents=True, exist_ok=True)
        with h5py.File(root / letter / f"{name}.h5", "w") as file:
            for row, utterance in enumerate(names):
                array = random.normal(3, 2, (4 + row % 3, width)).astype(np.float32)
                array[-1] = 0 if letter == "V" else array[-1]
                file[utterance] = array
    if statistics:
        with h5py.File(root / "A" / "comparE_mean_std.h5", "w") as file:
            for fold in range(1, folds + 1):
                file[f"{fold}/mean"] = np.full(7, float(fold))
                file[f"{fold}/std"] = np.array([2.0] * 6 + [0.0])
    for fold in range(1, folds + 1):
        out = [name[:5] == f"Ses0{fold}" for name in names]
        val = [held and "_F" in name[6:] for held, name in zip(out, names, strict=True)]
        (root / "target" / str(fold)).mkdir(parents=True, exist_ok=True)
        for part in ("trn", "val", "tst"):
            rows = [
                row
                for row in range(len(names))
                if ("trn" if not out[row] else "val" if val[row] else "tst") == part
            ]
            stored = np.array([[names[row]] for row in rows], dtype="S")
            np.save(root / "target" / str(fold) / f"{part}_int2name.npy", stored)
            np.save(root / "target" / str(fold) / f"{part}_label.npy", labels[rows])
    return root


def write_images(root: Path, *, train: int = 4, test: int = 2) -> list[tuple[str, str, str]]:
    """Images in ``images/<part>/<class>``; give part, class and file of each."""
    found = []
    for part, count in (("train", train), ("test", test)):
        for number, food in enumerate(FOODS):
            folder = root / "images" / part / food
            folder.mkdir(parents=True, exist_ok=True)
            for row in range(count):
                name = f"{food}_{row + (0 if part == 'train' else 100)}.jpg"
                color = (80 * number, 40 * row, 0 if part == "train" else 255)
                Image.new("RGB", (8, 8), color).save(folder / name)
                found.append((part, food, name))
    return found


def write_food101(root: Path, **counts: int) -> Path:
    """The published layout: tables without column names, with commas and quotes in titles."""
    images = write_images(root, **counts)
    (root / "texts").mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        with open(root / "texts" / f"{part}_titles.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for which, food, name in images:
                if which == part:
                    writer.writerow([name, f'=The "best" {food}, ever | Café', food])
    return root


def write_food_lists(root: Path) -> Path:
    """The layout of JSON lists, with tokens."""
    images = write_images(root)
    for part in ("train", "test"):
        entries = [
            {
                "id": name.removesuffix(".jpg"),
                "img_path": f"images/{part}/{food}/{name}",
                "label": food,
                "text_tokens": ["a", "recipe", "of", food],
            }
            for which, food, name in images
            if which == part
        ]
        (root / f"{part}.json").write_text(json.dumps(entries), encoding="utf-8")
    return root
