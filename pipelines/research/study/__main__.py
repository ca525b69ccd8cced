"""What does the user want of the study? ``cggm study --help``."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ....data.errors import InputError
from ...commands.failures import report_plainly
from .mechanism import FILE as MECHANISM
from .mechanism import write_mechanism
from .report import write_report
from .sets import DIALS, NAMES, REAL, load
from .variants import OTHERS, compared
from .work import FILE, jobs_left, read, search_left, work


def main(words: Sequence[str] | None = None) -> None:
    """Read the command and do it."""
    report_plainly()
    given = _parser().parse_args(words)
    output = Path(given.output)
    if given.command == "run":
        _run(given, output / FILE)
    if given.command == "mechanism":
        print(write_mechanism(output / MECHANISM))
        return
    for path in write_report(output, Path(given.report or output / "report")):
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cggm study",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Does CGGM help, when, and how? docs/study.md has the answers.",
        epilog=_epilog(),
    )
    parser.add_argument(
        "command",
        choices=("run", "mechanism", "report"),
        help="run: train what is missing, then report; mechanism: what a factor does to an update",
    )
    parser.add_argument("--data", default=",".join(NAMES), help="default: %(default)s")
    parser.add_argument("--variants", help="names, divided by ';'; default: all")
    parser.add_argument("--seeds", type=int, default=5, help="how many; default: %(default)s")
    parser.add_argument("--features", default="output/stand_ins", help="default: %(default)s")
    parser.add_argument("--output", default="output/study", help="default: %(default)s")
    parser.add_argument("--report", help="where the report goes; default: OUTPUT/report")
    parser.add_argument("--jobs", type=int, default=2, help="side by side; default: %(default)s")
    return parser


def _epilog() -> str:
    texts = {
        "data": f"{', '.join(REAL)}: real, made by `cggm stand-ins all`; "
        f"{', '.join(DIALS)}: generated, with 0, 50 and 100 % of what one modality tells hidden",
        "variants": f"{'; '.join(v.name for v in compared())}; other methods: "
        f"{'; '.join(OTHERS)}; and of each modality M: M alone; M x 3; M x 1/3 (its rate)",
    }
    return "\n\n".join(
        textwrap.fill(text, 88, initial_indent=f"{name}: ", subsequent_indent="  ")
        for name, text in texts.items()
    )


def _run(given: argparse.Namespace, path: Path) -> None:
    if given.seeds < 3 or given.jobs < 1:
        raise InputError(
            f"--seeds is {given.seeds} and --jobs {given.jobs}; expected at least 3 and 1"
        )
    data, seeds = given.data.split(","), range(given.seeds)
    wanted = given.variants and [name.strip() for name in given.variants.split(";")]
    for name in data:  # refuses what is not there before anything is trained
        load(name, given.features)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            work(search_left(read(path), data, given.features), path, given.jobs)
            work(jobs_left(read(path), data, given.features, seeds, wanted), path, given.jobs)
    except Timeout as error:
        raise InputError(f"another study is at work in {path.parent}; choose --output") from error


if __name__ == "__main__":
    main()
