"""The study's results over data sets and divisions: means, differences, choices, factors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..report.statistics import FEWEST_PAIRS, Difference, corrected_difference, holm
from .sets import DIALS, NAMES
from .variants import JOINT
from .work import SEARCH_SEEDS, Result, chosen_rate

LEVEL = 0.05
_SHARES = ("negative", "huge", "neutral")


class Study:
    """Results, at the learning rate that joint training's search chose.

    Args:
        results: of any data sets, variants and seeds.

    Attributes:
        data: names of the data sets.
        rate: data set to the chosen learning rate.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self._all = pd.DataFrame([vars(result) for result in results])
        trained = set(self._all["data"])
        self.data = [name for name in NAMES if name in trained]
        self.rate = {d: chosen_rate([r for r in results if r.data == d]) for d in self.data}
        at_rate = self._all["rate"] == self._all["data"].map(self.rate)
        kept = self._all[at_rate].drop_duplicates(["data", "variant", "seed"], keep="last")
        joint = kept.loc[kept["variant"] == JOINT, ["data", "seed", "val", "test"]]
        # Beside each result, that of joint training on the same division.
        self._kept = kept.merge(joint, "left", ["data", "seed"], suffixes=("", "_joint"))
        self._kept = self._kept.sort_values("seed", kind="stable")
        self._parts = dict(iter(self._kept.groupby(["data", "variant"])))

    def rates(self) -> list[float]:
        """Learning rates that were tried."""
        return sorted(set(self._all.loc[self._all["variant"] == JOINT, "rate"]))

    def search(self, data: str) -> tuple[dict[float, float], float]:
        """Mean validation of joint training by learning rate, over 5 divisions, and the choice."""
        joint = self._all.query("variant == @JOINT and data == @data")
        joint = joint[joint["seed"].isin(SEARCH_SEEDS)]
        means = joint.groupby("rate")["val"].mean().reindex(self.rates())
        return dict(zip(self.rates(), means, strict=True)), self.rate[data]

    def mean(self, data: str, variant: str) -> float:
        """Mean test figure, percent; NaN without any."""
        return float(self._of(data, variant)["test"].mean())

    def encoders(self, data: str) -> list[tuple[str, float, float]]:
        """Per modality: a network of it alone, and its classifier in joint training."""
        joint = self._of(data, JOINT)
        inside = pd.DataFrame(joint["classifiers"].tolist(), joint["seed"])
        rows = []
        for name in map(str, inside):
            alone = self._of(data, f"{name} alone").set_index("seed")["test"]
            both = pd.concat([alone, inside[name]], axis="columns", join="inner")
            if len(both) > 0:
                rows.append((name, float(both["test"].mean()), float(both[name].mean())))
        return rows

    def variants(self, group: str) -> list[str]:
        """Names of a group, in the order of the results."""
        return list(self._all.loc[self._all["group"] == group, "variant"].unique())

    def ranked(
        self, without: Iterable[str] = (), group: str = "cggm"
    ) -> list[tuple[str, float, list[float]]]:
        """Variants by their mean validation difference to joint training, best first.

        Args:
            without: data sets that have no say; their values are given all the same.
            group: of the variants.

        Returns:
            Name, mean, and the difference on each data set, NaN where there is none.
        """
        results = self._kept[self._kept["group"] == group]
        gains = (results["val"] - results["val_joint"]).groupby(
            [results["variant"], results["data"]]
        )
        table = gains.mean().unstack().reindex(self.variants(group), columns=self.data)
        counted = table.drop(columns=[name for name in without if name in table])
        is_dial = counted.columns.isin(DIALS)
        shares = counted.loc[:, ~is_dial].assign(dials=counted.loc[:, is_dial].mean(axis="columns"))
        means = shares.mean(axis="columns").dropna().sort_values(ascending=False, kind="stable")
        values = table.loc[means.index].to_numpy().tolist()
        return list(zip(map(str, means.index), means, values, strict=True))

    def difference(self, data: str, variant: str) -> float:
        """Mean difference to joint training on validation, over common divisions, or NaN."""
        results = self._of(data, variant)
        return float((results["val"] - results["val_joint"]).mean())

    def estimate(self, data: str, variant: str) -> Difference | None:
        """Difference to joint training on the test parts; None with fewer than 3 divisions."""
        pairs = self._of(data, variant).dropna(subset="test_joint")
        if len(pairs) < FEWEST_PAIRS:
            return None
        return corrected_difference(pairs["test"].tolist(), pairs["test_joint"].tolist())

    def compared(self, group: str) -> dict[tuple[str, str], tuple[Difference, bool]]:
        """Estimates by variant and data set, and whether each is significant after Holm."""
        estimates = {
            (name, data): estimate
            for name in self.variants(group)
            for data in self.data
            if (estimate := self.estimate(data, name)) is not None
        }
        significant = holm([estimate.p for estimate in estimates.values()]) < LEVEL
        return {
            key: (estimate, bool(is_clear))
            for (key, estimate), is_clear in zip(estimates.items(), significant, strict=True)
        }

    def left_out(self) -> list[tuple[str, str, Difference]]:
        """For every data set: what the others choose, and what it brings there."""
        rows = []
        for data in self.data:
            ranked = self.ranked(DIALS if data in DIALS else [data])
            if ranked and (estimate := self.estimate(data, ranked[0][0])) is not None:
                rows.append((data, ranked[0][0], estimate))
        return rows

    def factors(self) -> list[dict[str, Any]]:
        """What the factors of CGGM were, a line per variant.

        Returns:
            Shares ``negative``, ``huge`` and ``neutral``, means over all trainings; medians of the
            ``mean`` factor, the ``difference`` between modalities, and the ``spread`` over steps.
        """
        lines = []
        for name in self.variants("cggm"):
            results = self._kept.loc[self._kept["variant"] == name, "factors"]
            recorded = [factors for factors in results if factors]
            means = [list(factors["mean"].values()) for factors in recorded]
            spreads = [np.mean(list(factors["spread"].values())) for factors in recorded]
            line = {k: np.mean([factors[k] for factors in recorded]) for k in _SHARES}
            line["mean"] = np.median([np.mean(m) for m in means])
            line["difference"] = np.median([max(m) - min(m) for m in means])
            lines.append({"variant": name, **line, "spread": np.median(spreads)})
        return lines

    def rows(self) -> list[dict[str, Any]]:
        """A line per data set and variant, with all decimals."""
        return [
            {
                "data": data,
                "variant": name,
                "group": group,
                "divisions": estimate.pairs,
                "test": self.mean(data, name),
                "validation_difference": self.difference(data, name),
                "test_difference": estimate.mean,
                "low_95": estimate.low,
                "high_95": estimate.high,
                "p": estimate.p,
                "significant": is_clear,
            }
            for group in ("cggm", "control", "fixed", "other")
            for (name, data), (estimate, is_clear) in self.compared(group).items()
        ]

    def _of(self, data: str, variant: str) -> pd.DataFrame:
        """Results of a variant, by seed; none where it was not trained."""
        return self._parts.get((data, variant), self._kept.iloc[:0])
