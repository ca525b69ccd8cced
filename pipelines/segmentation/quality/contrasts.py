"""Checks of the contrasts: sequences that are the same image, that are swapped, that lack contrast.

What the physics of MR says of a skull-stripped brain and is used here: liquor is by far the
brightest on T2 and dark on all others; apart from liquor, FLAIR is bright where T2 is, and T1 where
T2 is not; contrast agent makes voxels of T1 brighter, never darker. Nothing is said of one image
alone: blood makes T1 bright without any agent, and many tumors do not enhance.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from .findings import Finding, finding
from .view import View

SAME = 0.999  # correlation: noise of two acquisitions leaves less, rounding to 8 bits more
LIQUOR = 0.03  # share of the brain that is surely liquor where it is brightest
TAIL = 1.5  # brightest against darkest percent, from the median; T2 has 2 and more, others up to 1
DARK = 0.4  # mean rank of liquor in an image that is not T2
LIKER = 0.3  # correlation with T2 outside of liquor
SURE_ML, TIMES = 1.0, 5.0  # of voxels that are brighter without agent than with it
OUTLYING = 5.0  # robust standard deviations of the difference of two images
NO_ML = 0.05  # vessels and plexus alone enhance more
FEWER = 4  # every fourth voxel is enough for ranks


def check_identical(view: View, names: Sequence[str]) -> list[Finding]:
    """Check for pairs that are one image, also on another scale or upside down in brightness."""
    found = []
    for first, second in combinations(names, 2):
        same = abs(float(np.corrcoef(view.values(first), view.values(second))[0, 1]))
        if same > SAME:
            sentence = f"{first} and {second} are the same image (correlation {same:.5f})"
            found.append(finding("identical", sentence, first))
    return found


def check_swapped(view: View, names: Sequence[str]) -> list[Finding]:
    """Check for two sequences with exchanged names; one pair is named, the surest."""
    if "t2" not in names:
        return _against_agent(view, names)
    values = {name: view.values(name)[::FEWER] for name in names}
    tails = {name: tail(each) for name, each in values.items()}
    name = max((key for key in names if key != "t2"), key=lambda key: tails[key], default="t2")
    if tails[name] > TAIL * max(tails["t2"], 1):
        liquor = values[name] >= np.quantile(values[name], 1 - LIQUOR)
        rank = float(ranks(values["t2"])[liquor].mean())
        if rank < DARK:
            sentence = f"{name} shows liquor as T2 does and t2 does not"
            figures = f"rank {rank:.2f} of 1 in t2 of what is brightest in {name}"
            return [finding("swapped", f"{sentence}: they look exchanged ({figures})", name)]
    return _against_flair(values) or _against_agent(view, names)


def check_enhancement(view: View, names: Sequence[str]) -> list[Finding]:
    """Check that t1ce differs from t1 by more than noise."""
    if not {"t1", "t1ce"} <= set(names):
        return []
    brighter, darker = differing_ml(view, "t1", "t1ce")
    if max(brighter, darker) > NO_ML:
        return []
    alike = f"t1ce is nowhere brighter than t1 ({brighter:.2f} ml)"
    if (ml := bright_ml(view, "t1")) > SURE_ML:
        sentence = f"{alike}, and both show {ml:.1f} ml of bright tissue: is t1 a t1ce, too?"
        return [finding("t1_is_t1ce", sentence, "t1")]
    sentence = f"{alike}: nothing enhances, or one of them is the other, taken twice"
    return [finding("t1ce_is_t1", sentence, "t1ce")]


def tail(values: NDArray[np.float32]) -> float:
    """Distance of the brightest percent from the median, relative to that of the darkest one."""
    low, middle, high = np.percentile(values, (1, 50, 99))
    return float((high - middle) / max(middle - low, 1e-6 * abs(middle) + 1e-12))


def ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Place of each value among all, from 0 to 1."""
    return stats.rankdata(values) / values.size


def differing_ml(view: View, without: str, with_agent: str) -> tuple[float, float]:
    """Milliliters that are clearly brighter, and darker, in the second image than in the first."""
    first, second = view.values(without), view.values(with_agent)
    difference = second / np.median(second) - first / np.median(first)
    difference -= np.median(difference)
    spread = 1.4826 * np.median(np.abs(difference))
    brighter, darker = difference > OUTLYING * spread, difference < -OUTLYING * spread
    return float(brighter.sum()) * view.voxel_ml, float(darker.sum()) * view.voxel_ml


def bright_ml(view: View, sequence: str) -> float:
    """Milliliters that are brighter than the bulk of the brain, after a little smoothing."""
    smooth = ndimage.gaussian_filter(view.images[sequence], 0.7)[view.inner]
    low, middle, high = np.percentile(smooth, (16, 50, 84))
    return float((smooth > high + 3 * (high - middle)).sum()) * view.voxel_ml


def _against_flair(values: dict[str, NDArray[np.float32]]) -> list[Finding]:
    """Check FLAIR against T1 and T1ce, by which is more like T2 outside of liquor."""
    if "flair" not in values or len(values) < 3:
        return []
    rank = {name: ranks(each) for name, each in values.items()}
    solid = rank["t2"] < 0.9
    like = {
        name: float(np.corrcoef(rank[name][solid], rank["t2"][solid])[0, 1])
        for name in values
        if name != "t2"
    }
    name = max(like, key=lambda key: like[key])
    if like[name] - like["flair"] < LIKER:
        return []
    figures = f"correlation with t2 {like[name]:.2f}, that of flair {like['flair']:.2f}"
    sentence = f"{name} resembles T2 as FLAIR does, and flair less: they look exchanged"
    return [finding("swapped", f"{sentence} ({figures})", name)]


def _against_agent(view: View, names: Sequence[str]) -> list[Finding]:
    """Check T1 against T1ce, by which one has the voxels that stand out."""
    if not {"t1", "t1ce"} <= set(names):
        return []
    brighter, darker = differing_ml(view, "t1", "t1ce")
    if darker < max(SURE_ML, TIMES * brighter):
        return []
    figures = f"{darker:.1f} ml clearly brighter in t1, {brighter:.1f} ml in t1ce"
    return [
        finding("swapped", f"t1 shows what enhances: t1 and t1ce look exchanged ({figures})", "t1")
    ]
