"""What the trainings of the study say: comparisons, imbalance of each cell, factors, ranks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from .plan import ALONE, PRIMARY, SECONDARY, TEST, Study
from .statistics import Comparison, Ranking, compare, detectable, ranking, verdicts

EXPLORATORY = "exploratory"
KEY = ["cell", "method", "dropout"]


class Findings:
    """Figures of a study, of test draws only.

    Args:
        study: with its results.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.asked = study, study.asked
        tested = study.results[study.results["purpose"] == TEST]
        keys = list(tested[KEY].itertuples(index=False, name=None))
        rates = {key: study.rate(*key) for key in set(keys)}
        # A search with more draws may have chosen another rate than an earlier one.
        self.tested = tested[tested["rate"] == [rates[key] for key in keys]]

    def scores(self, cell: str, method: str, dropout: float = 0.0) -> pd.Series:
        """Test scores by draw; NaN where the method failed."""
        rows = self.rows(cell, method, dropout)
        return rows.set_index("draw")["test"].astype(float)

    def rows(self, cell: str, method: str, dropout: float = 0.0) -> pd.DataFrame:
        """Test trainings of a method."""
        found = self.tested
        chosen = (found["cell"] == cell) & (found["method"] == method)
        return found[chosen & (found["dropout"] == dropout)]

    def comparisons(self) -> pd.DataFrame:
        """Every method against the baseline in the same cell with the same dropout.

        Columns: "group" (primary, secondary or exploratory), "cell", "method", "dropout", those of
        :class:`Comparison`, "verdict" (of primary ones, corrected over all of them) and
        "detectable", the smallest true difference found with power 0.8 in a single test.
        """
        listed, found = [], []
        compared = self.study.compared()
        keys = self.tested[KEY].drop_duplicates()
        for cell, method, dropout in keys.itertuples(index=False, name=None):
            if method == self.asked.baseline or method.endswith(ALONE):
                continue
            one = self._compared(cell, method, dropout)
            if one is not None:
                group = (
                    SECONDARY
                    if cell not in self.asked.primary
                    else (PRIMARY if method in compared else EXPLORATORY)
                )
                listed.append({"group": group, "cell": cell, "method": method, "dropout": dropout})
                found.append(one)
        frame = pd.DataFrame(
            [key | asdict(one) for key, one in zip(listed, found, strict=True)],
            columns=["group", *KEY, *Comparison.__dataclass_fields__],
        )
        primary = [one for key, one in zip(listed, found, strict=True) if key["group"] == PRIMARY]
        alpha = self.asked.content["alpha"]
        frame["verdict"] = ""
        frame.loc[frame["group"] == PRIMARY, "verdict"] = verdicts(primary, alpha)
        frame["detectable"] = [detectable(o.deviation, o.pairs, alpha) for o in found]
        return frame

    def imbalance(self) -> list[dict[str, Any]]:
        """Of each cell: joint training, each modality alone and its classifier in joint training.

        Of a modality: "alone" and "inside", means of test scores. "gap" is joint training minus the
        modality that is best alone, a :class:`Comparison`.
        """
        rows = []
        for name, cell in self.asked.cells.items():
            joint = self.rows(name, self.asked.baseline)
            alone = {key: self.scores(name, key) for key in cell.alone}
            alone = {key: scores for key, scores in alone.items() if len(scores)}
            if joint.empty or not alone:
                continue
            best = max(alone, key=lambda key: float(alone[key].mean()))
            classifiers = pd.DataFrame(joint["classifiers"].tolist()).mean()
            rows.append(
                {
                    "cell": name,
                    "rate": self.study.rate(name, self.asked.baseline),
                    "joint": float(joint["test"].mean()),
                    "best": best.removesuffix(ALONE),
                    "gap": compare(
                        self.scores(name, self.asked.baseline), alone[best], self._equivalence
                    ),
                    "alone": {k.removesuffix(ALONE): float(v.mean()) for k, v in alone.items()},
                    "inside": {str(k): float(v) for k, v in classifiers.items()},
                }
            )
        return rows

    def mechanism(self, cell: str, method: str, quantity: str = "factors") -> np.ndarray | None:
        """Mean over the draws of factors or gradients, (periods, M); None where there are none."""
        kept = [np.array(rows) for rows in self.rows(cell, method)[quantity] if len(rows)]
        return np.mean(kept, axis=0) if kept else None

    def inside(self, cell: str, method: str, dropout: float = 0.0) -> dict[str, float]:
        """Mean test score of each classifier, of the best epoch."""
        rows = self.rows(cell, method, dropout)
        means = pd.DataFrame(rows["classifiers"].tolist()).mean()
        return {str(name): float(value) for name, value in means.items()}

    def missing(self, cell: str, method: str, dropout: float) -> float | None:
        """Test score without one modality, mean over which; None where there is none."""
        kept = [
            np.mean(list(row.values()))
            for row in self.rows(cell, method, dropout)["missing"]
            if row
        ]
        return float(np.mean(kept)) if kept else None

    def ranking(self) -> Ranking | None:
        """Methods over the primary cells, those that cover all of them."""
        rows = self.tested[self.tested["cell"].isin(self.asked.primary)]
        rows = rows[(rows["dropout"] == 0) & rows["method"].isin(self.asked.methods)]
        # As many draws of each method, the same ones.
        counts = rows.groupby(["cell", "method"])["draw"].nunique()
        if counts.empty:
            return None
        rows = rows[rows["draw"] < counts.min()]
        scores = rows.pivot_table("test", "cell", "method", aggfunc="mean")
        return ranking(scores, self.asked.baseline)

    def failures(self) -> dict[str, str]:
        """Methods that could not train, with a reason each."""
        if "failure" not in self.study.results:
            return {}
        failed = self.study.results.dropna(subset=["failure"])
        return dict(failed.drop_duplicates("method").set_index("method")["failure"])

    @property
    def _equivalence(self) -> float:
        return self.asked.content["equivalence"]

    def _compared(self, cell: str, method: str, dropout: float) -> Comparison | None:
        ours = self.scores(cell, method, dropout)
        theirs = self.scores(cell, self.asked.baseline, dropout)
        return compare(ours, theirs, self._equivalence)
