"""The table of methods in docs/methods.md: what each one is, and what it costs.

    python benchmarks/methods.py --output benchmarks/methods.csv    # measures, half an hour
    python benchmarks/methods_table.py                              # writes it into the page

What a method is comes from the catalogue, what it costs from the measurement that is kept here.
"""

from __future__ import annotations

import csv
from pathlib import Path

from cggm.data.files import write_text
from cggm.pipelines.methods import CATALOGUE, Method

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks" / "methods.csv"
BEGIN, END = "<!-- methods: benchmarks/methods_table.py writes this -->", "<!-- methods end -->"
SHORT = {"classification": "cls", "regression": "reg", "segmentation": "seg"}
HEAD = ("method", "paper", "what it changes", "published", "extended", "time")


def table() -> str:
    """The table in Markdown, a row per method."""
    measured = costs(MEASURED)
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [row(name, method, measured.get(name)) for name, method in sorted(CATALOGUE.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(name: str, method: type[Method], cost: str | None) -> tuple[str, ...]:
    """A method's cells."""
    most = method.published_modalities
    published = tasks(method.published) + (f", M ≤ {most}" if most else "")
    paper = method.paper or "–"
    extended = tasks(method.extended) or "–"
    return f"`{name}`", paper, method.changes, published, extended, cost or "not measured"


def tasks(found: frozenset[str]) -> str:
    """Tasks in short, in the order of the page."""
    return ", ".join(short for task, short in SHORT.items() if task in found)


def costs(path: Path) -> dict[str, str]:
    """Time of a step relative to joint training, from the cheapest to the dearest bundle."""
    ratios: dict[str, list[float]] = {}
    begins: dict[str, list[float]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            ratios.setdefault(line["method"], []).append(float(line["step_ms_ratio"]))
            begins.setdefault(line["method"], []).append(float(line["epoch_steps"]))
    return {name: told(ratios[name], max(begins[name])) for name in ratios}


def told(ratios: list[float], begin: float) -> str:
    """A cell, such as "1.1 to 1.4; up to 20 steps when an epoch begins"."""
    low, high = f"{min(ratios):.1f}", f"{max(ratios):.1f}"
    span = low if low == high else f"{low} to {high}"
    return span + (f"; up to {begin:.0f} steps when an epoch begins" if begin >= 1 else "")


def main() -> None:
    page = ROOT / "docs" / "methods.md"
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    write_text(page, f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
