"""How fast is the scorer? All its figures of a case beside MONAI's HD95 alone, in one run.

    OMP_NUM_THREADS=1 python -P benchmarks/scoring.py

Cases are made: irregular tumors of the sizes of gliomas in a volume of 240 x 240 x 155 voxels, with
predictions that miss some of the border. Both take the same masks, one after the other, so that
whatever else the machine does hits both alike; the figure to read is the ratio. MONAI gets the
masks of WT, TC and ET ready as tensors, the scorer has to find them in the labels. It prints rows
of a Markdown table, after a check that HD95 is the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from cggm.data.brats.conventions import region_masks
from cggm.pipelines.segmentation.scoring import Regions, RegionScores, score_labels

SHAPE = (240, 240, 155)
# Radii in voxels of edema, core with enhancing rim, and necrosis.
SIZES = {"small": (18, 11, 7), "medium": (29, 19, 13), "large": (38, 26, 18)}
REGIONS = Regions("brats2021")


def tumor(radii: tuple[int, ...], rough: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Classes of nested ellipsoids with irregular borders, uint8."""
    classes = np.zeros(SHAPE, np.uint8)
    center = np.array([150, 110, 80]).reshape(3, 1, 1, 1)
    grid = np.indices(rough.shape) + np.array([95, 55, 25]).reshape(3, 1, 1, 1) - center
    distance = np.sqrt(((grid / np.array([1.1, 1, 0.9]).reshape(3, 1, 1, 1)) ** 2).sum(0))
    part = classes[95:205, 55:165, 25:135]
    for radius, value in zip(radii, (2, 3, 1), strict=True):
        part[distance / radius + 0.12 * rough + noise < 1] = value
    return classes


def smooth_noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.standard_normal((110, 110, 110)), sigma)
    return noise / noise.std()


def masks_of(classes: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(mask) for mask in region_masks(classes).values()])[None]


def by_monai(prediction: torch.Tensor, truth: torch.Tensor) -> list[float]:
    """HD95 of each region on the full volume."""
    return compute_hausdorff_distance(prediction, truth, include_background=True, percentile=95)[
        0
    ].tolist()


def timed(work, *given: object) -> tuple[float, object]:  # noqa: ANN001
    began = time.perf_counter()
    result = work(*given)
    return time.perf_counter() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(0)
    print("| case | WT, TC, ET (ml) | Dice | MONAI, HD95 | scorer, all figures | ratio |")
    print("|---|---|---|---|---|---|")
    for name, radii in SIZES.items():
        rough = smooth_noise(rng, 5)
        truth = tumor(radii, rough, np.zeros(()))
        prediction = tumor(radii, rough, 0.04 * smooth_noise(rng, 2))
        tensors = masks_of(prediction), masks_of(truth)
        theirs, ours = [], []
        for repeat in range(given.repeats + 1):
            seconds, distances = timed(by_monai, *tensors)
            own_seconds, scores = timed(score_labels, prediction, truth, REGIONS)
            if repeat:  # the first ones set memory aside
                theirs.append(seconds)
                ours.append(own_seconds)
            check_equal(distances, scores)
        print(row(name, scores, theirs, ours), flush=True)


def check_equal(distances: list[float], scores: dict[str, RegionScores]) -> None:
    own = [region.hd95_mm for region in scores.values()]
    if not np.allclose(own, distances, atol=1e-5):
        raise SystemExit(f"HD95 differs: MONAI {distances}, scorer {own}")


def row(name: str, scores: dict[str, RegionScores], theirs: list[float], ours: list[float]) -> str:
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    milliliters = ", ".join(f"{region.true_ml:.0f}" for region in scores.values())
    dice = ", ".join(f"{region.dice:.2f}" for region in scores.values())
    return (
        f"| {name} | {milliliters} | {dice} | {1000 * statistics.median(theirs):.0f} ms "
        f"| {1000 * statistics.median(ours):.0f} ms | {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f}) |"
    )


if __name__ == "__main__":
    main()
