"""What fine-tuning on ten cases of another scanner gives, on held-out cases of that scanner.

    OMP_NUM_THREADS=1 python -P benchmarks/fine_tuning.py output/fine_tuning

Trains the BraTS bundle on 20 synthetic gliomas of the usual scanner, then on ten of another one
(other timings, twice the noise, half as much blur again): from the first network's weights, and
from nothing with the same epochs. All three networks are tested on ten further cases of the other
scanner. One seed: a figure of the phantom, which says that the way works and nothing of patients.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from tqdm import tqdm

from cggm.bundles import path
from cggm.data.files import whole_folder, write_json
from cggm.data.phantom.cases import PARTS, make_case, nifti_bytes
from cggm.data.phantom.grid import output_grid
from cggm.data.phantom.scanner import OTHER, USUAL, Scanner

SPACING = 4.0  # mm
BASE = {"train": 20, "val": 1, "test": 1}
TUNED = {"train": 10, "val": 2, "test": 10}
REGIONS = ("WT", "TC", "ET", "mean")


def main() -> None:
    """Make the cases, train what is missing, test, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where cases, trainings and the table go")
    parser.add_argument("--epochs", type=int, default=16, help="of the first training")
    parser.add_argument("--tuning_epochs", type=int, default=8, help="of the others")
    given = parser.parse_args()
    folder = given.folder.resolve()
    usual = write_cases(folder / "usual", "Usual", 0, BASE, USUAL)
    other = write_cases(folder / "other", "Other", 1, TUNED, OTHER)
    base = folder / "as it is"
    train(base, usual, epochs=given.epochs)
    train(folder / "fine-tuned", other, epochs=given.tuning_epochs, init=str(base))
    train(folder / "from nothing", other, epochs=given.tuning_epochs)
    table = {
        name: tested(folder / name, other, folder / "tests" / name)
        for name in ("as it is", "from nothing", "fine-tuned")
    }
    write_json(folder / "fine_tuning.json", table)
    print(f"Dice in percent, mean over {TUNED['test']} cases of the other scanner")
    for name, row in table.items():
        print(f"{name:14}" + "".join(f"{region:>7} {row[region]:.1f}" for region in REGIONS))


def write_cases(
    folder: Path, name: str, seed: int, parts: dict[str, int], scanner: Scanner
) -> Path:
    """Write cases of a scanner unless they are there, and their split beside them."""
    names = [f"{name}_{number:03}" for number in range(sum(parts.values()))]
    for number, case in enumerate(tqdm(names, name, disable=None)):
        if (folder / case).is_dir():
            continue
        arrays, _ = make_case(seed, number, SPACING, scanner=scanner)
        with whole_folder(folder / case) as place:
            for part in PARTS:
                content = nifti_bytes(arrays[part], output_grid(SPACING).affine())
                (place / f"{case}_{part}.nii.gz").write_bytes(content)
    left = iter(names)
    split = {part: [next(left) for _ in range(count)] for part, count in parts.items()}
    write_json(folder.with_suffix(".json"), split)
    return folder


def train(output: Path, cases: Path, **settings: Any) -> None:
    """Train a network unless it is there."""
    if not (output / "models" / "last.pt").is_file():
        run("train.json", cases, output_dir=str(output), val_interval="$@epochs", **settings)


def tested(output: Path, cases: Path, results: Path) -> dict[str, float]:
    """Test a network on the held-out cases."""
    weights = output / "models" / "last.pt"
    run("evaluate.json", cases, output_dir=str(results), ckpt_path=str(weights))
    found = json.loads((results / "evaluation" / "evaluation.json").read_text())
    return {region: found["volumetric"][region]["mean"] for region in REGIONS}


def run(config: str, cases: Path, **settings: Any) -> None:
    """Run a configuration of the bundle in this process."""
    workflow = ConfigWorkflow(
        config_file=str(Path(path("brats")) / config),
        workflow_type="train" if config == "train.json" else "infer",
        dataset_dir=str(cases),
        split_file=str(cases.with_suffix(".json")),
        cache_dir=str(cases.parent / "cache"),
        **settings,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


if __name__ == "__main__":
    main()
