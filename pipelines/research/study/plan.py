"""What the study trains: primary questions, cells, and which trainings are still to be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from ....data.errors import InputError
from ....data.files import read_json
from ...methods import CATALOGUE
from .families import check_family
from .statistics import pairs_for
from .training import RATES

FILE = Path(__file__).with_name("questions.json")
ALONE = " alone"  # of a modality: a network of it alone, trained jointly with nothing
SEARCH, TEST = "search", "test"
SEARCHED_FROM = 10_000  # seeds of the search; those of the test begin at 0
PRIMARY, SECONDARY = "primary", "secondary"
# A late fusion of networks trained apart says nothing that the modalities alone do not.
LEFT_OUT = ("unimodal",)
QUICK = {SEARCH: 1, PRIMARY: 5, SECONDARY: 0, "exploratory": 0, "alone": 3}
QUICK_RATES = {name: rates[1:3] for name, rates in RATES.items()}  # the middle ones


@dataclass(frozen=True)
class Cell:
    """Data and optimizer of one comparison.

    Attributes:
        family: of the data, see :data:`.families.FAMILIES`.
        task: which kind.
        modalities: how many.
        dial: strength of the imbalance, in [0, 1].
        optimizer: "adamw" or "sgd".
    """

    family: str
    task: str = "classification"
    modalities: int = 2
    dial: float = 1.0
    optimizer: str = "adamw"

    @property
    def name(self) -> str:
        """Short and in words: what differs from a classification of two modalities."""
        more = [
            self.task if self.task != "classification" else "",
            f"M = {self.modalities}" if self.modalities != 2 else "",
            f"dial {self.dial:g}" if self.dial != 1 else "",
            self.optimizer if self.optimizer != "adamw" else "",
        ]
        return ", ".join([self.family, *filter(None, more)])

    @property
    def alone(self) -> list[str]:
        """Networks of a single modality, by the names of their rows."""
        return [f"m{m + 1}{ALONE}" for m in range(self.modalities)]


@dataclass(frozen=True)
class Training:
    """One training: what, and for what.

    Attributes:
        cell: name of the cell.
        method: in the catalogue, or a modality alone.
        dropout: probability of modality dropout.
        rate: learning rate.
        draw: number of the draw of data, weights and batches.
        purpose: "search" (of the learning rate, on validation) or "test".
    """

    cell: str
    method: str
    dropout: float
    rate: float
    draw: int
    purpose: str

    @property
    def seed(self) -> int:
        return self.draw + (SEARCHED_FROM if self.purpose == SEARCH else 0)


FIELDS = [f.name for f in fields(Training)]


@dataclass(frozen=True)
class Questions:
    """The file of primary questions, and what of it is asked.

    Attributes:
        content: of the file.
        cells: by name, those that are trained.
        primary: names of the cells of primary questions.
        methods: all that are compared, the baseline first.
        draws: how many for "search", "primary", "secondary", "exploratory", and "alone".
        half_width: of the interval, in points, that primary comparisons get further draws for;
            None for none.
        rates: learning rates that are searched, by optimizer.
    """

    content: dict[str, Any]
    cells: dict[str, Cell]
    primary: list[str]
    methods: list[str]
    draws: dict[str, int] = field(default_factory=dict)
    half_width: float | None = None
    rates: Mapping[str, Sequence[float]] = field(default_factory=lambda: RATES)

    @property
    def baseline(self) -> str:
        return self.content["baseline"]

    @property
    def asked(self) -> list[str]:
        """Methods of primary questions, without the best others."""
        return [name for name in self.content["methods"] if name in self.methods]


def questions(
    families: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    quick: bool = False,
    draws: int | None = None,
) -> Questions:
    """Read the primary questions.

    Args:
        families: of the cells; all when not given.
        methods: beside the baseline; all that the study can train when not given.
        quick: fewer draws and learning rates, primary cells and methods only.
        draws: of each primary comparison, instead of those of the file and with no further ones.

    Raises:
        InputError: there is no such family or method.
    """
    content = read_json(FILE)
    for family in families or ():
        check_family(family)
    primary = [Cell(**entry) for entry in content[PRIMARY]]
    cells = primary + ([] if quick else [Cell(**entry) for entry in content[SECONDARY]])
    wanted = [cell for cell in cells if families is None or cell.family in families]
    known = trainable()
    unknown = [name for name in methods or () if name not in known]
    if unknown:
        raise InputError(f"the study trains no method {unknown[0]!r}; it has {', '.join(known)}")
    baseline = content["baseline"]
    chosen = [baseline, *(n for n in methods or known if n != baseline)]
    return Questions(
        content,
        {cell.name: cell for cell in wanted},
        [cell.name for cell in primary if cell in wanted],
        chosen,
        (QUICK if quick else content["draws"]) | ({PRIMARY: draws} if draws else {}),
        None if quick or draws else content["half_width"],
        QUICK_RATES if quick else RATES,
    )


def trainable() -> list[str]:
    """Methods that a plain loop can train in one go."""
    return [n for n, m in CATALOGUE.items() if m.teachers_by is None and n not in LEFT_OUT]


def fits(method: str, cell: Cell) -> bool:
    """Whether a method of the catalogue covers a cell."""
    made = CATALOGUE[method]
    fewest, most = made.modalities
    enough = fewest <= cell.modalities and (most is None or cell.modalities <= most)
    return enough and cell.task in made.published | made.extended


class Study:
    """Questions with the results so far: what was chosen, and what is to be trained next.

    Args:
        asked: the questions.
        results: a row per training with the fields of :class:`Training`, "val" and "test".
    """

    def __init__(self, asked: Questions, results: pd.DataFrame) -> None:
        self.asked = asked
        self.results = results[results["cell"].isin(list(asked.cells))]

    def left(self) -> list[Training]:
        """Trainings that are missing of the first stage that misses any.

        The stages: the search of learning rates, that with modality dropout, the tests, and
        further tests where an interval is too wide.
        """
        done = set(self.results[FIELDS].itertuples(index=False, name=None))
        for stage in (self._search, self._search_with_dropout, self._tests, self._further_tests):
            left = [training for training in stage() if astuple(training) not in done]
            if left:
                return sorted(left, key=lambda training: training.draw)
        return []

    def rate(self, cell: str, method: str, dropout: float = 0.0) -> float | None:
        """The learning rate that is best on validation, mean over the draws of the search."""
        found = self._searched()
        chosen = found[(found["cell"] == cell) & (found["method"] == method)]
        means = chosen[chosen["dropout"] == dropout].groupby("rate")["val"].mean().dropna()
        return None if means.empty else float(str(means.idxmax()))

    def validation(self) -> pd.DataFrame:
        """Validation score at the chosen rate without dropout: a row per cell, a column per method.

        Of primary cells only, and of methods of the catalogue.
        """
        found = self._searched()
        found = found[(found["dropout"] == 0) & found["method"].isin(self.asked.methods)]
        found = found[found["cell"].isin(self.asked.primary)]
        means = found.groupby(["cell", "method", "rate"])["val"].mean()
        return means.groupby(["cell", "method"]).max().unstack("method")

    def best_others(self) -> list[str]:
        """Of the methods not asked for by name, those with the best mean rank on validation.

        A method has to cover every primary cell, and take modality dropout.
        """
        named = [self.asked.baseline, *self.asked.asked]
        known = self.validation().drop(columns=named, errors="ignore").dropna(axis=1)
        able = [name for name in known if CATALOGUE[str(name)]().takes_dropout]
        ranks = known[able].rank(axis=1, ascending=False).mean().sort_values(kind="stable")
        return [str(name) for name in ranks.index[: self.asked.content["best_others"]]]

    def compared(self) -> list[str]:
        """Methods of the primary comparisons, the baseline first."""
        return [self.asked.baseline, *self.asked.asked, *self.best_others()]

    def _searched(self) -> pd.DataFrame:
        return self.results[self.results["purpose"] == SEARCH]

    def _search(self) -> Iterator[Training]:
        for name, cell in self.asked.cells.items():
            methods = (
                [*self._fitting(cell), *cell.alone]
                if name in self.asked.primary
                else ([self.asked.baseline, *self.asked.asked, *cell.alone])
            )
            yield from self._rates_of(cell, methods, 0.0)

    def _search_with_dropout(self) -> Iterator[Training]:
        for name in self.asked.primary:
            yield from self._rates_of(
                self.asked.cells[name], self.compared(), self.asked.content["dropout"]
            )
        for name in self.asked.cells.keys() - set(self.asked.primary):
            yield from self._rates_of(self.asked.cells[name], self.best_others(), 0.0)

    def _rates_of(self, cell: Cell, methods: Sequence[str], dropout: float) -> Iterator[Training]:
        for draw, method, rate in product(
            range(self.asked.draws[SEARCH]), methods, self.asked.rates[cell.optimizer]
        ):
            yield Training(cell.name, method, dropout, rate, draw, SEARCH)

    def _tests(self) -> Iterator[Training]:
        draws, compared = self.asked.draws, self.compared()
        for name, cell in self.asked.cells.items():
            if name not in self.asked.primary:
                yield from self._tests_of(cell, compared, 0.0, draws[SECONDARY])
                yield from self._tests_of(cell, cell.alone, 0.0, draws["alone"])
                continue
            for dropout in (0.0, self.asked.content["dropout"]):
                yield from self._tests_of(cell, compared, dropout, draws[PRIMARY])
            beside = [name for name in self._fitting(cell) if name not in compared]
            yield from self._tests_of(cell, beside, 0.0, draws["exploratory"])
            yield from self._tests_of(cell, cell.alone, 0.0, draws["alone"])

    def _further_tests(self) -> Iterator[Training]:
        """Draws beyond the first ones of primary comparisons that need them."""
        if self.asked.half_width is None:
            return
        baseline, methods = self.asked.baseline, self.compared()[1:]
        for name, dropout in product(self.asked.primary, (0.0, self.asked.content["dropout"])):
            draws = {method: self._draws_for(name, method, dropout) for method in methods}
            for method, number in {**draws, baseline: max(draws.values())}.items():
                yield from self._tests_of(self.asked.cells[name], [method], dropout, number)

    def _draws_for(self, cell: str, method: str, dropout: float) -> int:
        """How many draws of a comparison there have to be before the next look at its deviation."""
        draws, half_width = self.asked.draws[PRIMARY], self.asked.half_width
        while half_width is not None:
            ours, theirs = (
                self._first_scores(cell, name, dropout, draws)
                for name in (method, self.asked.baseline)
            )
            gaps = (ours - theirs).dropna()
            if len(gaps) < draws:  # some are still to be trained, or the method failed
                break
            wanted = pairs_for(gaps, half_width, self.asked.content["alpha"])
            if wanted == draws:
                break
            draws = wanted
        return draws

    def _first_scores(self, cell: str, method: str, dropout: float, draws: int) -> pd.Series:
        """Test scores of the first draws at the chosen rate."""
        found = self.results
        chosen = (found["cell"] == cell) & (found["method"] == method)
        chosen &= (found["dropout"] == dropout) & (found["purpose"] == TEST)
        chosen &= found["rate"] == self.rate(cell, method, dropout)
        rows = found[chosen & (found["draw"] < draws)]
        return rows.set_index("draw")["test"].astype(float)

    def _tests_of(
        self, cell: Cell, methods: Sequence[str], dropout: float, draws: int
    ) -> Iterator[Training]:
        for method in methods:
            rate = self.rate(cell.name, method, dropout)
            if rate is not None:
                for draw in range(draws):
                    yield Training(cell.name, method, dropout, rate, draw, TEST)

    def _fitting(self, cell: Cell) -> list[str]:
        return [name for name in self.asked.methods if fits(name, cell)]
