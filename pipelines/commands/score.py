"""`cggm score`: anybody's masks against the truth, by conventions that are named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from fire.parser import DefaultParseValue
from tqdm import tqdm

from ...data.brats.checks import plural
from ...data.errors import InputError, problem_report
from ..segmentation.scoring import Regions, ScoreReport, ScoringRules, pair_masks, score_pairs
from ..segmentation.scoring.report import check_replaceable


def main(
    predictions: Annotated[Path, typer.Argument(help="A folder of masks, or one mask.")],
    truth: Annotated[Path, typer.Argument(help="Likewise; matched by the case in the name.")],
    label_convention: Annotated[
        str | None,
        typer.Option(
            "--label_convention",
            metavar="NAME",
            help="Of both sides, for WT, TC and ET: brats2021, brats2023, brats2024 or msd.",
        ),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Labels of each region instead, '{WT: [1,2,4]}'; by default each label is one.",
        ),
    ] = None,
    empty_regions: Annotated[
        Literal["brats2021", "brats2023", "monai"],
        typer.Option("--empty_regions", help="Convention for regions that are empty."),
    ] = "brats2023",
    tolerance: Annotated[float, typer.Option(metavar="MM", help="Of surface Dice, in mm.")] = 1.0,
    lesion_rule: Annotated[
        Literal["gli", "men", "met", "ped", "ssa"],
        typer.Option("--lesion_rule", help="Challenge of 2023 whose lesion-wise rule counts."),
    ] = "gli",
    output_dir: Annotated[
        Path, typer.Option("--output_dir", metavar="FOLDER", help="Where the scores go.")
    ] = Path("scores"),
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Score masks: Dice, HD95, surface Dice, volumes, lesion by lesion."""
    rules = ScoringRules(empty_regions, tolerance, lesion_rule)
    wanted = Regions(label_convention, read_regions(regions))
    check_replaceable(output_dir)
    pairing = pair_masks(predictions, truth)
    scored = score_pairs(tqdm(pairing.pairs, unit="case", disable=None), wanted, rules)
    not_scored = dict(sorted({**pairing.unpaired, **scored.failures}.items()))
    if not scored.cases:
        raise InputError(problem_report(f"{predictions} and {truth}", list(not_scored.values())))
    notes = [*pairing.notes, *scored.notes]
    if wanted.names is None:
        notes.append("every label is a region; --label_convention gives WT, TC and ET instead")
    report = ScoreReport(
        scored.cases, wanted, rules, str(predictions), str(truth), not_scored, notes, seed
    )
    report.show(report.write(output_dir))
    for note in notes:
        print(f"note: {note}")
    for sentence in not_scored.values():
        print(f"error: {sentence}", file=sys.stderr)
    total = len(scored.cases) + len(not_scored)
    print(f"{len(scored.cases)} of {plural(total, 'case')} scored, in {output_dir}")
    if not_scored:
        raise typer.Exit(1)


def read_regions(text: str | None) -> dict[str, list[int]] | None:
    """Read the labels of each region, such as `{WT: [1, 2, 4], ET: 4}`.

    Raises:
        InputError: the text is no such thing.
    """
    if text is None:
        return None
    regions = DefaultParseValue(text)
    if isinstance(regions, dict):
        regions = {
            str(name): [labels] if isinstance(labels, int) else labels
            for name, labels in regions.items()
        }
    if (
        not isinstance(regions, dict)
        or not regions
        or not all(isinstance(labels, (list, tuple)) for labels in regions.values())
    ):
        raise InputError(
            f"--regions is {text!r}; expected the labels of each region, such as "
            "'{WT: [1, 2, 4], TC: [1, 4], ET: [4]}'"
        )
    return {name: list(labels) for name, labels in regions.items()}
