"""What does each method cost? Time and memory of its training steps beside joint training.

    python benchmarks/methods.py --output methods.csv
    python benchmarks/methods.py --bundle mosi --method agm --method umt --steps 10

Each bundle has its kind of network, of one size, on one batch of random data. Time: steps of all
methods are interleaved in one process, so that whatever else the machine does hits all alike, and
each is divided by the step of joint training WITHOUT classifiers that came before it. Memory: the
largest resident size of a process that does nothing else. Columns of the CSV file:

    method, bundle
    step_ms_ratio   median of the ratios of a step's time
    step_ms_low     its 95 % interval, by the ranks of the ratios
    step_ms_high
    peak_mb         largest resident memory, with the classifiers that a bundle builds for it
    peak_mb_without_classifiers     empty where the method needs them, or has none
    epoch_steps     what is done when an epoch begins (trials, prototypes, diagnoses), the longest,
                    in steps of joint training on one batch as a whole data set; UMT's teachers,
                    a unimodal training, are beside it
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.data import collate_features
from cggm.models import (
    segmentation_classifiers,
    segmentation_network,
    transformer_classifiers,
    transformer_network,
)
from cggm.pipelines.balancing import (
    ClassificationTask,
    RegressionTask,
    SegmentationTask,
    parameter_groups,
)
from cggm.pipelines.handlers import Modulation, PrepareFeatures
from cggm.pipelines.methods import CATALOGUE, Method, create
from cggm.pipelines.segmentation import DiceCELoss, RegionDice

MEMORY_STEPS = 4
# Widths and steps of the features of a bundle, as its data sets have them; outputs, batch size.
FEATURES: dict[str, tuple[dict[str, tuple[int, int]], int, int]] = {
    "food101": ({"image": (768, 50), "text": (768, 40)}, 101, 32),
    "iemocap": ({"text": (100, 40), "audio": (100, 40), "vision": (512, 40)}, 4, 32),
    "mosi": ({"text": (768, 40), "audio": (5, 40), "vision": (20, 40)}, 1, 32),
}
BUNDLES = ("brats", *FEATURES)
# CGGM with its direction term, the dearest form.
SETTINGS = {"cggm": {"lam": 0.1}}


def correct(prediction: Tensor, label: Tensor) -> Tensor:
    return (prediction.argmax(1) == label).float()


def closeness(prediction: Tensor, label: Tensor) -> Tensor:
    return -(prediction - label).abs().flatten(1).mean(1)


class Mark:
    """A handler that notes when an event happened, between the handlers beside it."""

    def __init__(self, event: Any) -> None:
        self.event, self.times = event, []

    def attach(self, engine: SupervisedTrainer) -> None:
        engine.add_event_handler(
            self.event, lambda _, times=self.times: times.append(time.perf_counter())
        )


def built(bundle: str, late_fusion: str | None) -> tuple[nn.Module, Any, Any, list[dict[str, Any]]]:
    """A bundle's network, its classifiers, its task and random samples for a batch."""
    torch.manual_seed(0)
    if bundle == "brats":
        sequences = ["flair", "t1", "t1ce", "t2"]
        sizes = {"encoder": "resnet18", "channels": 64, "rates": (1, 2, 3)}
        network: nn.Module = segmentation_network(sequences, late_fusion=late_fusion, **sizes)
        samples = [
            {
                "image": torch.randn(4, 96, 96),
                "label": torch.randint(0, 4, (1, 96, 96)),
                "id": f"{i}",
            }
            for i in range(8)
        ]
        task: Any = SegmentationTask(DiceCELoss(), RegionDice())
        return network, segmentation_classifiers(network), task, samples  # type: ignore[arg-type]
    shapes, outputs, count = FEATURES[bundle]
    sizes = {"width": 40, "heads": 5, "layers": 4, "fusion_layers": 2}
    widths = {name: width for name, (width, _) in shapes.items()}
    network = transformer_network(widths, outputs, late_fusion=late_fusion, **sizes)
    labels = torch.randn(count, 1) if outputs == 1 else torch.randint(0, outputs, (count,))
    samples = [
        {
            "inputs": {name: torch.randn(steps, width) for name, (width, steps) in shapes.items()},
            "label": label,
            "id": f"{number}",
        }
        for number, label in enumerate(labels)
    ]
    task = RegressionTask(nn.L1Loss(), closeness)
    if outputs > 1:
        task = ClassificationTask(nn.CrossEntropyLoss(), correct)
    return network, transformer_classifiers(network), task, samples


class Steps:
    """A training that goes on by one step at a time, always on the same batch."""

    def __init__(self, bundle: str, method: Method | None, *, classifiers: bool = True) -> None:
        late_fusion = None if method is None else method.late_fusion
        network, found, task, samples = built(bundle, late_fusion)
        found = found if classifiers and method is not None else None
        groups = parameter_groups(network, found, lr=1e-3)
        self.network = network
        events = (Events.EPOCH_STARTED, Events.EPOCH_STARTED)
        self.epoch = tuple(map(Mark, events))  # before and after the method's turn
        self.iteration = Mark(Events.ITERATION_STARTED), Mark(Events.ITERATION_COMPLETED)
        first, last = zip(self.epoch, self.iteration, strict=True)
        modulation = [] if method is None else [Modulation(method, network, task, found)]
        features = {} if bundle == "brats" else {"prepare_batch": PrepareFeatures()}
        collate = {} if bundle == "brats" else {"collate_fn": collate_features}
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=10**6,
            train_data_loader=DataLoader(samples, batch_size=len(samples), **collate),
            network=network,
            optimizer=torch.optim.SGD(groups, lr=1e-3, momentum=0.9),
            loss_function=task.loss,
            train_handlers=[*first, *modulation, *last],
            decollate=False,
            **features,
        )
        # A run that goes on, so that a method is prepared once.
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.trainer.interrupt)

    def step(self) -> float:
        """Run one step and return its seconds."""
        self.trainer.run()
        return seconds(self.iteration)[-1]

    def end(self) -> None:
        """Let go of everything."""
        self.trainer.add_event_handler(Events.EPOCH_STARTED, self.trainer.terminate)
        self.trainer.run()


def seconds(marks: tuple[Mark, Mark]) -> list[float]:
    """Time between two marks, each time."""
    return [last - first for first, last in zip(marks[0].times, marks[1].times, strict=True)]


def made(name: str, bundle: str, folder: Path) -> Method:
    """A method with its defaults; UMT with teachers that were not trained."""
    method = CATALOGUE[name]
    if method.teachers_by is None:
        return create(name, SETTINGS)
    path = folder / f"{bundle}.pt"
    if not path.exists():
        network, *_ = built(bundle, CATALOGUE[method.teachers_by].late_fusion)
        torch.save(network.state_dict(), path)
    return create(name, {name: {"teachers": str(path)}})


def covers(name: str, bundle: str) -> bool:
    kinds = {"brats": "segmentation", "mosi": "regression"}
    method = CATALOGUE[name]
    return kinds.get(bundle, "classification") in method.published | method.extended


def can_go_without(name: str) -> bool:
    """Whether a bundle builds classifiers for a method that does not need them."""
    method = CATALOGUE[name]
    return not method.needs_classifiers and method.late_fusion is None


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % interval of the median by ranks."""
    ordered, count = sorted(ratios), len(ratios)
    rank = max(0, math.floor((count - 1.96 * math.sqrt(count)) / 2))
    return ordered[rank], ordered[count - 1 - rank]


def timed(bundle: str, names: list[str], steps: int, folder: Path) -> dict[str, dict[str, float]]:
    """Columns of time by method."""
    base = Steps(bundle, None)
    runs = {name: Steps(bundle, made(name, bundle, folder)) for name in names}
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for number in range(steps + 2):
        for name, run in runs.items():
            joint, own = base.step(), run.step()
            if number >= 2:  # the first steps set memory aside
                ratios[name].append(own / joint)
    joint = statistics.median(seconds(base.iteration)[2:])
    rows = {}
    for name, run in runs.items():
        low, high = interval(ratios[name])
        rows[name] = {
            "step_ms_ratio": round(statistics.median(ratios[name]), 3),
            "step_ms_low": round(low, 3),
            "step_ms_high": round(high, 3),
            "epoch_steps": round(max(seconds(run.epoch)) / joint, 1),
        }
    for run in (base, *runs.values()):
        run.end()
    return rows


def peak_here(question: tuple[str, str, bool, str]) -> float:
    """Largest resident memory of this process in MB while it trains."""
    bundle, name, classifiers, folder = question
    run = Steps(bundle, made(name, bundle, Path(folder)), classifiers=classifiers)
    Path("/proc/self/clear_refs").write_text("5")  # forget what was before
    for _ in range(MEMORY_STEPS):
        run.step()
    run.end()
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


def peaks(questions: list[tuple[str, str, bool, str]]) -> list[float]:
    """The same for several trainings, each in a process forked from one that only imported."""
    # Freed blocks go back to the system at once instead of into the allocator's reserves.
    quiet = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", __file__, "--peaks", json.dumps(questions)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | quiet,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", action="append", choices=BUNDLES)
    parser.add_argument("--method", action="append", choices=list(CATALOGUE))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--peaks", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peaks:
        with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
            print(json.dumps(pool.map(peak_here, given.peaks, chunksize=1)))
        return
    with tempfile.TemporaryDirectory() as made_for:
        rows = table(given, Path(made_for))
    file = sys.stdout if given.output is None else given.output.open("w", newline="")
    with file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row for each bundle and each method that covers it."""
    rows = []
    for bundle in given.bundle or BUNDLES:
        names = [name for name in given.method or CATALOGUE if covers(name, bundle)]
        both = [(name, True) for name in names]
        both += [(name, False) for name in names if can_go_without(name)]
        found = peaks([(bundle, name, with_them, str(folder)) for name, with_them in both])
        memory = dict(zip(both, found, strict=True))
        for name, times in timed(bundle, names, given.steps, folder).items():
            extra = {"epoch_steps": times.pop("epoch_steps")}
            peak = {
                "peak_mb": memory[name, True],
                "peak_mb_without_classifiers": memory.get((name, False), ""),
            }
            rows.append({"method": name, "bundle": bundle} | times | peak | extra)
            print(*rows[-1].values(), file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
