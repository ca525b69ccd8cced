"""What modality dropout and balancing give with every subset of the sequences, over seeds.

    OMP_NUM_THREADS=1 python -P benchmarks/subsets.py output/subsets --jobs 2 --epochs 40 \\
        --measured benchmarks/subsets.csv

Trains the BraTS bundle on synthetic gliomas: 33 training and 15 validation cases, those of the
embedded default, and 48 test cases of their own. Each arm is trained with the same seeds, budget
and order of data; a seed changes weights, augmentation and draws. Every network is tested with all
15 subsets. A network whose figures are in the CSV of --measured is not trained again, so that the
trainings can be shared by machines; an interrupted training goes on.

The table has means over cases and seeds, and 95 % intervals of the mean over seeds (t), which say
how far another start of the training could lead. `constant factor + dropout` scales every
encoder's step by the mean factor of the same seed's `cggm + dropout`: what is left of CGGM when it
does not look at the sequences. The dedicated arms are jointly trained on their own sequences alone,
and stand in a table of their own, beside the one network that takes every subset. The arms of
unequal rates learn from training cases that lack sequences for good, the more often the more a
sequence tells; they are tested like the others. `passion` is made for such cases.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from cggm.data.files import write_csv, write_json
from cggm.data.phantom import generate
from cggm.data.splits import split_cases

DROPOUT = 0.5
EMBEDDED, TESTED = 48, 48
REGIONS, PARTS = ("WT", "TC", "ET"), ("val", "test")
CONSTANT, ONE_FOR_ALL = "constant factor + dropout", "joint + dropout"
ABSENT = {"t1": 0.2, "t2": 0.4, "flair": 0.6, "t1ce": 0.8}  # from how many training cases
UNEQUAL = "joint + dropout, unequal rates"


class Arm(NamedTuple):
    """What is trained.

    Attributes:
        method: its name.
        dropout: rate of modality dropout.
        sequences: of a dedicated network; none: all four.
        unequal: whether training cases lack sequences, see :data:`ABSENT`.
    """

    method: str
    dropout: float
    sequences: tuple[str, ...] = ()
    unequal: bool = False


ARMS = {
    "joint": Arm("joint", 0.0),
    ONE_FOR_ALL: Arm("joint", DROPOUT),
    "cggm + dropout": Arm("cggm", DROPOUT),
    "progress_rates + dropout": Arm("progress_rates", DROPOUT),
    CONSTANT: Arm("joint", DROPOUT),
    "dedicated: flair": Arm("joint", 0.0, ("flair",)),
    "dedicated: t1ce": Arm("joint", 0.0, ("t1ce",)),
    "dedicated: flair + t1ce": Arm("joint", 0.0, ("flair", "t1ce")),
    UNEQUAL: Arm("joint", DROPOUT, unequal=True),
    "cggm + dropout, unequal rates": Arm("cggm", DROPOUT, unequal=True),
    "progress_rates + dropout, unequal rates": Arm("progress_rates", DROPOUT, unequal=True),
    "passion, unequal rates": Arm("passion", 0.0, unequal=True),
}
WHAT = (
    "volumetric Dice in percent, mean over test cases and seeds; _low and _high: 95 % interval of "
    "the mean over seeds (t); a region empty in truth and prediction counts as 100"
)
NOTES = [
    "Constant factor: every encoder's step times the mean factor of the same seed's cggm + "
    "dropout.",
    "Of every network ET below the volume that its validation chose (at most 0.5 ml) counts as "
    "NCR.",
]


def main() -> None:
    """Train what is missing, test, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where data, trainings and the table go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--measured", type=Path, help="all figures; default FOLDER/measured.csv")
    given, overrides = parser.parse_known_args()
    folder = given.folder.resolve()
    study = Study(folder, overrides, given.measured or folder / "measured.csv")
    study.prepare()
    arms = sorted(given.arms, key=lambda arm: arm == CONSTANT)  # it reads another's factors
    with ThreadPoolExecutor(given.jobs) as pool:
        for last in (False, True):
            runs = [(a, seed) for seed in given.seeds for a in arms if (a == CONSTANT) is last]
            list(pool.map(lambda run: study.run(*run), runs))
    for part in PARTS:
        print(f"\n{part}")
        for first, unequal in (("joint", False), (UNEQUAL, True)):
            if first in arms:
                alike = [a for a in arms if not ARMS[a].sequences and ARMS[a].unequal is unequal]
                table = study.table(alike, given.seeds, part, first)
                name = f"subsets_over_seeds_{'unequal_' * unequal}{part}.json"
                write_json(study.folder / name, table)
                print(text(table, first))
        if dedicated := [arm for arm in arms if ARMS[arm].sequences]:
            print(study.dedicated(dedicated, given.seeds, part))


class Study:
    """The trainings of all arms in a folder.

    Args:
        folder: absolute.
        overrides: further settings of every training, as `--name value`.
        measured: CSV with a row for each network, part and subset; what is in it is not repeated.
    """

    def __init__(self, folder: Path, overrides: Sequence[str], measured: Path) -> None:
        self.folder, self.overrides, self.measured = folder, list(overrides), measured
        self.data, self.split = folder / "data", folder / "split.json"
        self.unequal = folder / "data_unequal"
        self.rows = read(measured) if measured.exists() else []
        self.lock = Lock()
        others = {row["settings"] for row in self.rows} - {" ".join(overrides)}
        if others:
            raise SystemExit(f"{measured} was measured with {others.pop()!r}: pass these settings")

    def prepare(self) -> None:
        """Make the cases and their split."""
        generate(self.data, cases=EMBEDDED + TESTED, progress=True)
        names = sorted(path.name for path in self.data.iterdir() if path.is_dir())
        train = split_cases(names[:EMBEDDED])["train"]
        val = sorted(set(names[:EMBEDDED]) - set(train))
        write_json(self.split, {"train": train, "val": val, "test": names[EMBEDDED:]})
        drawn = np.random.default_rng(0)
        rates = np.array(list(ABSENT.values()))
        for name in names:
            lacks = drawn.random(len(rates)) < rates
            while lacks.all():
                lacks = drawn.random(len(rates)) < rates
            lacking = {
                f"{name}_{s}.nii.gz" for s, is_so in zip(ABSENT, lacks, strict=True) if is_so
            }
            (self.unequal / name).mkdir(parents=True, exist_ok=True)
            for file in (self.data / name).glob("*.nii.gz"):
                copy = self.unequal / name / file.name
                if not (name in train and file.name in lacking) and not copy.exists():
                    os.link(file, copy)

    def run(self, arm: str, seed: int) -> None:
        """Train and test one network unless that is done."""
        if self.of(arm, seed, PARTS[-1]):
            return
        output = self.output(arm, seed)
        if not (output / "models" / "done").exists():
            # The last weights are tested: nothing to validate before.
            settings = ["--seed", str(seed), "--val_interval", "$@epochs", *self.method(arm, seed)]
            settings += self.overrides
            if ARMS[arm].unequal:
                settings += ["--allow_missing", "True"]
            resume = ["--resume"] if (output / "models" / "last.pt").exists() else []
            self.bundle("train", output, [*settings, *resume], ARMS[arm].unequal)
            (output / "models" / "done").touch()
        for part in PARTS:
            if not (output / part / "subsets.csv").exists():
                self.bundle("evaluate", output, ["--part", part, "--subsets", "True"])
                (output / "evaluation").rename(output / part)
        self.keep(arm, seed, output)

    def keep(self, arm: str, seed: int, output: Path) -> None:
        """Add what a network came to, to the figures."""
        factors = [row["balance"] for row in read(output / "modulation.csv") if row["balance"]]
        first = {
            "arm": arm,
            "seed": str(seed),
            "settings": " ".join(self.overrides),
            "factor": f"{np.mean(np.array(factors, float)):.4f}" if factors else "",
        }
        columns = ["sequences", "cases", *(f"{region}_dice" for region in REGIONS)]
        with self.lock:
            for part in PARTS:
                for row in read(output / part / "subsets.csv"):
                    figures = {name: row[name] for name in columns}
                    self.rows.append({**first, "part": part, **figures})
            order = list(ARMS)
            self.rows.sort(key=lambda row: (order.index(row["arm"]), int(row["seed"])))
            write_csv(self.measured, self.rows)

    def of(self, arm: str, seed: int, part: str) -> list[dict[str, str]]:
        """Rows of a network on a part of the cases, one for each subset."""
        key = (arm, str(seed), part)
        return [row for row in self.rows if (row["arm"], row["seed"], row["part"]) == key]

    def output(self, arm: str, seed: int) -> Path:
        """Folder of a training."""
        return self.folder / f"{arm.replace(' + ', '_').replace(' ', '_')}_{seed}"

    def method(self, arm: str, seed: int) -> list[str]:
        """Overrides that make an arm."""
        method, rate, sequences, _ = ARMS[arm]
        chosen = ["--method", method, "--modality_dropout", str(rate)]
        if sequences:
            chosen += ["--sequences", str(list(sequences))]
        if arm != CONSTANT:
            return chosen
        factor = self.of("cggm + dropout", seed, PARTS[0])[0]["factor"]
        target = "cggm.pipelines.research.study.controls.FixedFactors"
        table = f"$torch.full((1, 4), {factor})"
        return [*chosen, "--method_def", f"{{'_target_': '{target}', 'table': '{table}'}}"]

    def bundle(
        self, command: str, output: Path, settings: Sequence[str], unequal: bool = False
    ) -> None:
        """Run a command of the bundle; stop where it fails."""
        data = self.unequal if unequal else self.data
        places = {"dataset_dir": data, "split_file": self.split, "output_dir": output}
        places |= {"cache_dir": self.folder / "cache"}
        words = [word for name, place in places.items() for word in (f"--{name}", place)]
        command_line = [sys.executable, "-P", "-m", "cggm", command, "brats", *words, *settings]
        output.mkdir(parents=True, exist_ok=True)
        log = output / f"{command}.log"
        with open(log, "a") as file:
            done = subprocess.run(
                [str(word) for word in command_line], stdout=file, stderr=file, check=False
            )
        if done.returncode:
            raise SystemExit(f"{command} of {output.name} failed, see {log}")
        print(f"{output.name}: {command} done", flush=True)

    def table(
        self, arms: Sequence[str], seeds: Sequence[int], part: str, first: str
    ) -> dict[str, Any]:
        """Means and intervals of arms, and their differences to the first."""
        runs = {arm: [self.of(arm, seed, part) for seed in seeds] for arm in arms}
        figures = [
            {
                "name": arm,
                "settings": {"method": ARMS[arm].method, "modality_dropout": ARMS[arm].dropout},
                **summary(runs[arm]),
                "against_joint": differences(runs[arm], runs[first]),
            }
            for arm in arms
        ]
        cases = int(runs[first][0][0]["cases"])
        return {
            "what": WHAT,
            "notes": NOTES,
            "data": f"{cases} synthetic gliomas (no patients)",
            "command": " ".join(["python -P benchmarks/subsets.py", *self.overrides]),
            "cases": cases,
            "seeds": list(seeds),
            "arms": figures,
        }

    def dedicated(self, arms: Sequence[str], seeds: Sequence[int], part: str) -> str:
        """As Markdown: networks of some sequences, and the one for all of them on these alone."""
        lines = ["| sequences | dedicated: WT / TC / ET | one for all | one for all - dedicated |"]
        lines.append("|---|---:|---:|---:|")
        for arm in arms:
            asked = set(ARMS[arm].sequences)
            own, others = (
                [
                    [line for line in self.of(name, seed, part) if shown(line) == asked]
                    for seed in seeds
                ]
                for name in (arm, ONE_FOR_ALL)
            )
            both = [row(summary(runs)["mean"]) for runs in (own, others)]
            cells = [*both, interval(differences(others, own)["mean"])]
            lines.append(f"| {', '.join(ARMS[arm].sequences)} | {' | '.join(cells)} |")
        return "\n".join(lines)


def shown(line: dict[str, str]) -> set[str]:
    """The sequences of a row."""
    return set(line["sequences"].split("+"))


def dice(rows: Sequence[dict[str, str]]) -> np.ndarray:
    """Dice in percent, shape (subsets, regions)."""
    return np.array([[float(row[f"{region}_dice"]) for region in REGIONS] for row in rows])


def summary(runs: Sequence[Sequence[dict[str, str]]]) -> dict[str, Any]:
    """Rows of subsets, and the mean over them, of the runs of one arm."""
    values = np.stack([dice(rows) for rows in runs])  # (seeds, subsets, regions)
    subsets = [
        {"sequences": row["sequences"], **by_region(values[:, i])} for i, row in enumerate(runs[0])
    ]
    return {"subsets": subsets, "mean": by_region(values.mean(1))}


def differences(
    runs: Sequence[Sequence[dict[str, str]]], others: Sequence[Sequence[dict[str, str]]]
) -> dict[str, Any]:
    """Difference of each seed to another arm: over all subsets, and with all sequences."""
    paired = zip(runs, others, strict=True)
    values = np.stack([dice(rows) - dice(other) for rows, other in paired])
    return {"mean": by_region(values.mean(1)), "all_sequences": by_region(values[:, -1])}


def by_region(values: np.ndarray) -> dict[str, float | None]:
    """Mean and interval over seeds, of values (seeds, regions) and of the regions' mean."""
    columns = {**dict(zip(REGIONS, values.T, strict=True)), "all": values.mean(1)}
    result: dict[str, float | None] = {}
    for name, column in columns.items():
        half = stats.sem(column) * stats.t.ppf(0.975, len(column) - 1) if len(column) > 1 else None
        ends = (None, None) if half is None else (column.mean() - half, column.mean() + half)
        result[name] = round(float(column.mean()), 2)
        for end, value in zip(("low", "high"), ends, strict=True):
            result[f"{name}_{end}"] = None if value is None else round(float(value), 2)
    return result


def text(table: dict[str, Any], first: str) -> str:
    """The table as Markdown: all sequences, mean over subsets, differences to the first."""
    lines = [
        f"| arm | all four: WT / TC / ET | mean of 15 subsets | against {first}, 15 | all four |"
    ]
    lines.append("|---|---:|---:|---:|---:|")
    for arm in table["arms"]:
        cells = [row(arm["subsets"][-1]), row(arm["mean"])]
        cells += [interval(arm["against_joint"][part]) for part in ("mean", "all_sequences")]
        lines.append(f"| {arm['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def row(figures: dict[str, Any]) -> str:
    """Three regions."""
    return " / ".join(f"{figures[region]:.1f}" for region in REGIONS)


def interval(figures: dict[str, Any]) -> str:
    """Mean of the regions with its interval."""
    if figures["all_low"] is None:
        return f"{figures['all']:+.1f}"
    return f"{figures['all']:+.1f} [{figures['all_low']:+.1f}, {figures['all_high']:+.1f}]"


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
