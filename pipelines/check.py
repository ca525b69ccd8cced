"""What lies in a BraTS folder, and what is wrong with it?

``python -m cggm.pipelines.check FOLDER`` reads every file of every case.
"""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm

from ..data.brats import SEQUENCES, describe, find_cases
from ..data.errors import InputError
from ..data.nifti import check_cases


def main() -> int:
    """Print what was found and every problem; return how the command should end."""
    parser = argparse.ArgumentParser(
        prog="python -m cggm.pipelines.check", description="Check a folder of BraTS cases."
    )
    parser.add_argument("folder")
    parser.add_argument("--layout", default="auto")
    parser.add_argument("--label_convention", default=None)
    parser.add_argument("--sequences", nargs="+", default=list(SEQUENCES), metavar="NAME")
    parser.add_argument("--labels", default="optional", help="required, optional or ignored")
    parser.add_argument("--allow_missing", action="store_true", help="accept missing sequences")
    given = parser.parse_args()
    try:
        cases = find_cases(
            given.folder,
            sequences=given.sequences,
            layout=given.layout,
            label_convention=given.label_convention,
            labels=given.labels,
            allow_missing=given.allow_missing,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(describe(cases), flush=True)
    problems = []
    for case in tqdm(cases, unit="case", disable=None):
        problems += check_cases([case])
    for _, problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    broken = len({name for name, _ in problems})
    print(f"{len(cases) - broken} of {len(cases)} cases can be used")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
