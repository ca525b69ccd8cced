"""Does the confidence of a mask tell its Dice? Of a network that benchmarks/subsets.py trained.

    OMP_NUM_THREADS=1 python -P benchmarks/confidence.py STUDY/joint_dropout_0 FOLDER

STUDY is the folder of `benchmarks/subsets.py`; its 48 test cases are segmented from some subsets
of their sequences. FOLDER gets `confidence.csv`, a row for each case, subset and region; what it
holds is not repeated. Printed are mean Dice, mean confidence, and Spearman's correlation of the two
over cases, beside that of the mean probability in the mask, the other candidate.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from cggm import Segmenter
from cggm.data.brats.cases import SEQUENCES, Case, find_cases
from cggm.data.brats.conventions import REGION_CLASSES, REGIONS
from cggm.data.brats.nifti import read_case
from cggm.data.files import write_csv
from cggm.pipelines.segmentation.quality import confidence

SUBSETS = (("flair", "t1", "t1ce", "t2"), ("flair", "t1ce"), ("flair",), ("t1ce",))


def main() -> None:
    """Segment what is missing, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("training", type=Path, help="a training in the folder of subsets.py")
    parser.add_argument("folder", type=Path, help="where confidence.csv goes")
    given = parser.parse_args()
    study, path = given.training.parent, given.folder / "confidence.csv"
    names = set(json.loads((study / "split.json").read_text())["test"])
    rows: list[dict[str, Any]] = []
    if path.exists():
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    done = {row["case"] for row in rows}
    segmenter = Segmenter.from_folder(given.training, device="cpu")
    given.folder.mkdir(parents=True, exist_ok=True)
    for case in find_cases(study / "data"):
        if case.name in names - done:
            rows += measured(segmenter, case)
            write_csv(path, rows)
    print(table(rows))


def measured(segmenter: Segmenter, case: Case) -> Iterator[dict[str, Any]]:
    """Dice and candidates for the confidence, a row for each subset and region of its mask."""
    volume = read_case(case, SEQUENCES)
    assert volume.label is not None
    for names in SUBSETS:
        images = {name: volume.images[name] for name in names}
        result = segmenter.segment(images, volume.affine, probabilities=True)
        assert result.probabilities is not None
        sure = confidence(result.probabilities, result.classes)
        for region in REGIONS:
            mask = np.isin(result.classes, REGION_CLASSES[region])
            truth = np.isin(volume.label, REGION_CLASSES[region])
            if sure[region] is None:
                continue
            likely = result.probabilities[list(REGION_CLASSES[region])].sum(axis=0)
            yield {
                "case": case.name,
                "sequences": "+".join(names),
                "region": region,
                "dice": round(200 * (mask & truth).sum() / (mask.sum() + truth.sum()), 2),
                "confidence": sure[region],
                "mean_probability": round(float(likely[mask].mean()), 4),
            }


def table(rows: list[dict[str, Any]]) -> str:
    """Means and correlations by subset and region, as Markdown."""
    lines = [
        "| sequences | region | masks | Dice | confidence | rank correlation | of the mean p |"
    ]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for names in map("+".join, (*SUBSETS, ("all of these",))):
        for region in REGIONS:
            of = [
                row
                for row in rows
                if row["region"] == region and names in (row["sequences"], "all of these")
            ]
            if len(of) < 10:
                continue
            dice, sure, mean = (
                np.array([float(row[key]) for row in of])
                for key in ("dice", "confidence", "mean_probability")
            )
            figures = [float(stats.spearmanr(one, dice).statistic) for one in (sure, mean)]
            cells = f"{dice.mean():.1f} | {sure.mean():.2f} | {figures[0]:.2f} | {figures[1]:.2f}"
            lines.append(f"| {names} | {region} | {len(of)} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
