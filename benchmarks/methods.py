"""Time and memory of each method's training steps beside joint training.

    python benchmarks/methods.py --output methods.csv
    python benchmarks/methods.py --bundle mosi --method agm --method umt --steps 10

The module `cggm.pipelines.research.paper.costs` says what is measured, and what the columns are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cggm.pipelines.methods import CATALOGUE
from cggm.pipelines.research.paper.costs import measure
from cggm.pipelines.research.paper.training_steps import BUNDLES


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", action="append", choices=BUNDLES)
    parser.add_argument("--method", action="append", choices=list(CATALOGUE))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("methods.csv"))
    options = parser.parse_args()
    bundles, methods = options.bundle or BUNDLES, options.method or list(CATALOGUE)
    measure(options.output, bundles, methods, options.steps)


if __name__ == "__main__":
    main()
