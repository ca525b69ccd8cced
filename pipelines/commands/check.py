"""What lies in a folder or file of data, and what is wrong with it?

``cggm check SOURCE`` reads all of it: BraTS cases, a feature set, a pickle of
CMU-MOSI, or a folder of IEMOCAP or UPMC-Food 101.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from ...data.brats.cases import SEQUENCES, describe, find_cases
from ...data.brats.nifti import check_cases
from ...data.errors import InputError
from ...data.features.header import FORMAT, HEADER
from .check_features import check_set
from .convert import add_options, read
from .failures import report_plainly

KINDS = ("brats", "features", "mosi", "iemocap", "food101")


def main() -> int:
    """Print what was found and every problem; return how the command should end."""
    report_plainly()
    given = _parser().parse_args()
    checks: dict[str, Callable[[argparse.Namespace], tuple[str, list[str]]]] = {
        "brats": _brats,
        "features": lambda given: check_set(given.source),
    }
    try:
        if not Path(given.source).exists():
            raise InputError(f"there is no file or folder {given.source}; is the path right?")
        given.kind = given.kind or recognize(given.source)
        summary, problems = checks.get(given.kind, _published)(given)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(summary)
    return 1 if problems else 0


def recognize(source: str | Path) -> str:
    """Say which kind of data a file or folder holds, by names alone; "brats" when in doubt."""
    path = Path(source)
    if path.is_file():
        return "mosi"
    if _is_header(path / HEADER):
        return "features"
    if (path / "target").is_dir():
        return "iemocap"
    titles = (path / "images").is_dir() and any(path.glob("texts/*_titles.csv"))
    lists = (path / "train.json").is_file() and (path / "test.json").is_file()
    return "food101" if titles or lists else "brats"


def _is_header(path: Path) -> bool:
    """BraTS of the Medical Segmentation Decathlon has a file of this name, too."""
    try:
        return f'"{FORMAT}"' in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _brats(given: argparse.Namespace) -> tuple[str, list[str]]:
    cases = find_cases(
        given.source,
        sequences=given.sequences,
        layout=given.layout,
        label_convention=given.label_convention,
        labels=given.labels,
        allow_missing=given.allow_missing,
    )
    print(describe(cases), flush=True)
    problems = []
    for case in tqdm(cases, unit="case", disable=None):
        problems += check_cases([case])
    broken = len({name for name, _ in problems})
    summary = f"{len(cases) - broken} of {len(cases)} cases can be used"
    return summary, [text for _, text in problems]


def _published(given: argparse.Namespace) -> tuple[str, list[str]]:
    found = read(given)
    print("\n".join(found.describe()))
    for note in found.notes:
        print(f"note: {note}")
    command = f"cggm convert {given.kind} {given.source} OUTPUT"
    return f"it can be converted: {command}", []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cggm check",
        description="Check data: BraTS cases, a feature set, or a published set of features.",
    )
    parser.add_argument("source", help="a folder, or the pickle of CMU-MOSI")
    parser.add_argument("--kind", choices=KINDS, default=None, help="instead of what it looks like")
    brats = parser.add_argument_group("BraTS")
    brats.add_argument("--layout", default="auto")
    brats.add_argument("--label_convention", default=None)
    brats.add_argument("--sequences", nargs="+", default=list(SEQUENCES), metavar="NAME")
    brats.add_argument("--labels", default="optional", help="required, optional or ignored")
    brats.add_argument("--allow_missing", action="store_true", help="accept missing sequences")
    for kind, title in (("mosi", "CMU-MOSI"), ("iemocap", "IEMOCAP"), ("food101", "Food 101")):
        add_options(parser.add_argument_group(title), kind)
    return parser


if __name__ == "__main__":
    sys.exit(main())
