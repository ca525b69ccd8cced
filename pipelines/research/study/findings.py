"""Findings over data sets and divisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..report.statistics import holm
from .sets import DIALS, NAMES
from .statistics import Estimate, corrected_difference
from .variants import JOINT
from .work import SEARCH_SEEDS, Result, chosen_rate

LEVEL = 0.05


class Study:
    """Results, at the learning rate that joint training's search chose.

    Args:
        results: of any data sets, variants and seeds.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.all = list(results)
        self.data = [name for name in NAMES if any(r.data == name for r in results)]
        self.rate = {d: chosen_rate([r for r in results if r.data == d]) for d in self.data}
        self._kept = {
            (r.data, r.variant, r.seed): r for r in results if r.rate == self.rate[r.data]
        }

    def rates(self) -> list[float]:
        """Learning rates that were tried."""
        return sorted({r.rate for r in self.all if r.variant == JOINT})

    def search(self, data: str) -> tuple[dict[float, float], float]:
        """Mean validation of joint training by learning rate, over 5 divisions, and the choice."""
        means = {}
        for rate in self.rates():
            vals = [r.val for r in self._joint(data) if r.rate == rate and r.seed in SEARCH_SEEDS]
            means[rate] = float(np.mean(vals)) if vals else float("nan")
        return means, self.rate[data]

    def _joint(self, data: str) -> list[Result]:
        return [r for r in self.all if r.data == data and r.variant == JOINT]

    def mean(self, data: str, variant: str) -> float:
        """Mean test figure, percent; NaN without any."""
        tests = [r.test for r in self._of(data, variant).values()]
        return float(np.mean(tests)) if tests else float("nan")

    def encoders(self, data: str) -> list[tuple[str, float, float]]:
        """Per modality: a network of it alone, and its classifier in joint training."""
        joint = self._of(data, JOINT)
        names = next(iter(joint.values())).classifiers if joint else {}
        rows = []
        for name in names:
            alone = self._of(data, f"{name} alone")
            both = sorted(set(alone) & set(joint))
            if both:
                inside = float(np.mean([joint[seed].classifiers[name] for seed in both]))
                rows.append((name, float(np.mean([alone[seed].test for seed in both])), inside))
        return rows

    def variants(self, group: str) -> list[str]:
        """Names of a group, in the order of the results."""
        return list(dict.fromkeys(r.variant for r in self.all if r.group == group))

    def ranked(
        self, without: Iterable[str] = (), group: str = "cggm"
    ) -> list[tuple[str, float, list[float | None]]]:
        """Variants by their mean validation difference to joint training, best first.

        Args:
            without: data sets that have no say; their values are given all the same.
            group: of the variants.
        """
        excluded = set(without)
        rows = []
        for name in self.variants(group):
            values = {d: self.difference(d, name) for d in self.data}
            shares = [
                v for d, v in values.items() if v is not None and d not in {*DIALS, *excluded}
            ]
            dials = [v for d in DIALS if d not in excluded and (v := values.get(d)) is not None]
            shares += [float(np.mean(dials))] if dials else []
            if shares:
                rows.append((name, float(np.mean(shares)), list(values.values())))
        return sorted(rows, key=lambda row: -row[1])

    def difference(self, data: str, variant: str, part: str = "val") -> float | None:
        """Mean difference to joint training over common divisions; None without any."""
        ours, theirs = self._pairs(data, variant, part)
        return float(np.mean(np.subtract(ours, theirs))) if ours else None

    def estimate(self, data: str, variant: str) -> Estimate | None:
        """Difference to joint training on the test parts; None with fewer than 3 divisions."""
        ours, theirs = self._pairs(data, variant, "test")
        return corrected_difference(ours, theirs) if len(ours) >= 3 else None

    def compared(self, group: str) -> dict[tuple[str, str], tuple[Estimate, bool]]:
        """Estimates by variant and data set, and whether each is significant after Holm."""
        estimates = {
            (name, data): e
            for name in self.variants(group)
            for data in self.data
            if (e := self.estimate(data, name)) is not None
        }
        corrected = holm([e.p for e in estimates.values()])
        return {
            key: (e, p is not None and p < LEVEL)
            for (key, e), p in zip(estimates.items(), corrected, strict=True)
        }

    def left_out(self) -> list[tuple[str, str, Estimate]]:
        """For every data set: what the others choose, and what it brings there."""
        rows = []
        for data in self.data:
            ranked = self.ranked(DIALS if data in DIALS else [data])
            if ranked and (e := self.estimate(data, ranked[0][0])) is not None:
                rows.append((data, ranked[0][0], e))
        return rows

    def factors(self) -> list[tuple[str, dict[str, float]]]:
        """Per variant of CGGM, what its factors were."""
        rows = []
        for name in self.variants("cggm"):
            kept = [r.factors for r in self._kept.values() if r.variant == name and r.factors]
            means = [list(f["mean"].values()) for f in kept]
            spreads = [float(np.mean(list(f["spread"].values()))) for f in kept]
            shares = {
                k: float(np.mean([f[k] for f in kept])) for k in ("negative", "huge", "neutral")
            }
            shares["mean"] = float(np.median([np.mean(m) for m in means]))
            shares["difference"] = float(np.median([max(m) - min(m) for m in means]))
            rows.append((name, {**shares, "spread": float(np.median(spreads))}))
        return rows

    def rows(self) -> list[dict[str, Any]]:
        """A line per data set and variant, with all decimals."""
        lines = []
        for group in ("cggm", "control", "fixed", "other"):
            for (name, data), (e, significant) in self.compared(group).items():
                lines.append(
                    {
                        "data": data,
                        "variant": name,
                        "group": group,
                        "divisions": e.count,
                        "test": self.mean(data, name),
                        "validation_difference": self.difference(data, name),
                        "test_difference": e.mean,
                        "low_95": e.low,
                        "high_95": e.high,
                        "p": e.p,
                        "significant": significant,
                    }
                )
        return lines

    def _of(self, data: str, variant: str) -> dict[int, Result]:
        return {s: r for (d, v, s), r in self._kept.items() if (d, v) == (data, variant)}

    def _pairs(self, data: str, variant: str, part: str) -> tuple[list[float], list[float]]:
        ours, theirs = self._of(data, variant), self._of(data, JOINT)
        seeds = sorted(set(ours) & set(theirs))
        return [getattr(ours[s], part) for s in seeds], [getattr(theirs[s], part) for s in seeds]
