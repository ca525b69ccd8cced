"""Which demonstration does the user want? ``cggm demo --bundle food101``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ....data.errors import InputError
from ...commands.failures import report_plainly
from . import features, segmentation


def main() -> None:
    """Run all steps of one bundle; each is skipped that an earlier run finished."""
    parser = argparse.ArgumentParser(
        description="Train a bundle with and without CGGM, compare, draw, report. Further options "
        "are passed on to the training."
    )
    parser.add_argument("--bundle", default="brats", choices=("brats", *features.STAND_INS))
    parser.add_argument("--output_dir", help="where everything goes; default: output/demo/BUNDLE")
    known, overrides = parser.parse_known_args()
    folder = Path(known.output_dir or f"output/demo/{known.bundle}")
    report_plainly(folder)
    bundle = Path("bundles", known.bundle)
    if not bundle.is_dir():
        raise InputError(f"there is no folder {bundle} here; start from the root of the repository")
    kind = segmentation if known.bundle == "brats" else features
    report = kind.demonstrate(bundle, folder, overrides)
    print(f"report: {report}")


if __name__ == "__main__":
    main()
