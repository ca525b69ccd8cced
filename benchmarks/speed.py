"""How near to the limit of the hardware are training, reading, segmenting and starting?

    OMP_NUM_THREADS=1 python -P benchmarks/speed.py output/speed      # what `make bench` runs

Two ways to do the same are timed in turn, so that whatever else the machine does hits both alike;
the figures to read are medians of their ratios. Each part can be measured by itself
(`--only steps --only growth`) and is kept in `speed.json`; `speed.md` and `growth.png` are written
from all that was measured. Half an hour on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch
from monai import transforms
from monai.data import PersistentDataset
from torch import Tensor, nn
from torch.utils.data import default_collate

from cggm import Balancer, Segmenter, bundles
from cggm.data import SEQUENCES, SliceStore, collate_features, find_cases, read_case
from cggm.data.brats.slices import read_slice
from cggm.data.files import read_json, write_json, write_text
from cggm.data.phantom import generate
from cggm.models import (
    segmentation_classifiers,
    segmentation_network,
    transformer_classifiers,
    transformer_network,
)
from cggm.pipelines.balancing import ClassificationTask, SegmentationTask, Task
from cggm.pipelines.methods import CGGM, Joint, Method, create
from cggm.pipelines.research.paper.peak_memory import Training, peaks
from cggm.pipelines.research.paper.training_steps import (
    BUNDLES,
    PAPERS_BRATS,
    SEGMENTATION,
    SMALL_BRATS,
    Steps,
    build,
)
from cggm.pipelines.segmentation import DiceCELoss, RegionDice
from cggm.pipelines.segmentation.case_dataset import network_input
from cggm.pipelines.segmentation.slice_inference import CenteredSlices

REPEATS = 9
Row = dict[str, Any]  # what, value, unit, low, high, target
Series = dict[str, Any]  # by, what, x, seconds, r2


def seconds(action: Callable[[], object]) -> float:
    """What an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turn(*actions: Callable[[], object], repeats: int = REPEATS) -> list[list[float]]:
    """Ratios of the time of each action to that of the last, all in turn, once warm."""
    for action in actions:
        action()
    found = [[seconds(action) for action in actions] for _ in range(repeats)]
    return [[took[i] / took[-1] for took in found] for i in range(len(actions) - 1)]


def row(what: str, values: Sequence[float], unit: str, target: str) -> Row:
    """A row of the table: the median, and the smallest and largest value."""
    ends = {"low": round(min(values), 3), "high": round(max(values), 3)}
    return {
        "what": what,
        "value": round(statistics.median(values), 3),
        **ends,
        "unit": unit,
        "target": target,
    }


def steps() -> list[Row]:
    """A training step of each bundle's network over one of joint training in MONAI's trainer."""
    rows = []
    scored = "joint with --score_modalities"
    targets = {"joint": "≤ 1.03", "mrd": "≤ 1.03", scored: "", "cggm": "≤ 1.10"}
    for bundle in (SMALL_BRATS, *BUNDLES, PAPERS_BRATS):
        # Four copies of the paper's network would not fit into the memory of a laptop.
        names = ["cggm"] if bundle == PAPERS_BRATS else list(targets)
        trainings = [
            Steps(bundle, create(name.split()[0]), classifiers=True if name == scored else None)
            for name in names
        ]
        trainings.append(Steps(bundle, None))
        actions = [*(training.step for training in trainings[:-1]), classifiers_of(bundle)]
        repeats = REPEATS if bundle == PAPERS_BRATS else 2 * REPEATS
        *ratios, alone = in_turn(*actions, trainings[-1].step, repeats=repeats)
        for name, found in zip(names, ratios, strict=True):
            rows.append(row(f"{bundle}: step of {name} / plain step", found, "×", targets[name]))
        floor = "what its classifiers take by themselves"
        rows.append(row(f"{bundle}: classifiers alone / plain step", alone, "×", floor))
        for training in trainings:
            training.end()
    return rows


def classifiers_of(bundle: str) -> Callable[[], None]:
    """Forward pass, loss and backward pass of a network's classifiers on features at hand."""
    network, classifiers, task, samples = build(bundle, None)
    assert classifiers is not None
    batch = (default_collate if bundle in SEGMENTATION else collate_features)(samples)
    inputs, label = batch.get("image", batch.get("inputs")), batch["label"]
    with torch.no_grad():
        features = network.encode(inputs)

    def action() -> None:
        for name, classifier in classifiers.items():
            loss = task.loss(classifier(features[name]), label).mean()
            torch.autograd.grad(loss, list(classifier.parameters()))

    return action


def memory() -> list[Row]:
    """What CGGM and its classifiers add to the largest resident memory of a training."""
    rows = []
    for bundle in BUNDLES:
        pair = [Training(bundle, "cggm", True, ""), Training(bundle, "joint", False, "")]
        more = [a - b for a, b in (peaks(pair) for _ in range(3))]
        target = "≤ 24" if bundle == "brats" else "≤ 8"
        rows.append(row(f"{bundle}: memory of cggm - joint", more, "MB", target))
    return rows


def slices() -> list[Row]:
    """A random slice of four sequences and its label, from the store and from other places."""
    with tempfile.TemporaryDirectory() as folder:
        made = generate(f"{folder}/cases", cases=2, spacing=1.0)
        cases = find_cases(made)
        store = SliceStore.build(cases, f"{folder}/store", progress=False)
        files = [
            {name: str(one.images[name].path) for name in SEQUENCES}
            | {"label": str(one.label.path)}
            for one in cases
        ]
        keys = [*SEQUENCES, "label"]
        loaded = transforms.Compose(
            [
                transforms.LoadImaged(keys),
                transforms.EnsureChannelFirstd(keys),
                transforms.ConcatItemsd(SEQUENCES, "image"),
                transforms.SelectItemsd(["image", "label"]),
            ]
        )
        cached = PersistentDataset(files, loaded, cache_dir=f"{folder}/persistent")
        draws = random.Random(0)

        def from_store() -> None:
            for _ in range(200):
                case = store.load(draws.choice(store.cases))
                read_slice(case, draws.randrange(case.slices), range(len(SEQUENCES)))

        def from_nifti() -> None:
            names, position = draws.choice(files), draws.randrange(155)
            [np.asarray(nib.load(path).dataobj)[..., position] for path in names.values()]

        def from_persistent() -> None:
            item, position = cached[draws.randrange(len(files))], draws.randrange(155)
            [item[key][..., position].clone() for key in ("image", "label")]

        return [
            row(
                f"a slice from {name} / from the store",
                [200 * ratio for ratio in in_turn(other, from_store)[0]],
                "×",
                target,
            )
            for name, other, target in (
                ("compressed NIfTI", from_nifti, "≥ 20"),
                ("MONAI's PersistentDataset", from_persistent, "≥ 3"),
            )
        ]


def case() -> list[Row]:
    """A case of 240 x 240 x 155 voxels: all that `Segmenter` does over the network's passes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        (found,) = find_cases(generate(folder, cases=1, spacing=1.0, workers=1))
        volume = read_case(found, SEQUENCES)
        for encoder in ("tu-test_resnet", "resnet18"):
            torch.manual_seed(0)
            network = segmentation_network(
                SEQUENCES, encoder=encoder, channels=64, rates=(1, 2, 3)
            ).eval()
            segmenter = Segmenter(network, SEQUENCES, device="cpu")
            image, _, brain = network_input(volume.images, SEQUENCES)
            seen = CenteredSlices(image[0], brain[0])
            size = segmenter.inferer.batch_size
            batches = [seen.seen(chosen) for chosen in seen.filled.split(size)]

            def forward(network: nn.Module = network, batches: list[Tensor] = batches) -> None:
                for batch in batches:
                    network(batch)

            full, prepared = in_turn(
                lambda s=segmenter: s.segment_volume(volume),
                lambda: network_input(volume.images, SEQUENCES),
                forward,
            )
            rows.append(row(f"{encoder}: a full case / its forward passes", full, "×", "≤ 1.15"))
            share = "brain, box and z-scores"
            rows.append(row(f"{encoder}: preparing it / its forward passes", prepared, "×", share))
    return rows


def start() -> list[Row]:
    """What starting takes."""
    python = [sys.executable, "-P"]
    mosi = str(Path(bundles.path("mosi")) / "train.json")
    with tempfile.TemporaryDirectory() as folder:
        built = ["--config_file", mosi, "--output_dir", folder, "--run", "$[@train#trainer]"]
        commands = {
            "nothing": [*python, "-c", "pass"],
            "import": [*python, "-c", "import cggm"],
            "help": [*python, "-m", "cggm", "--help"],
            "monai": [*python, "-c", "import monai.bundle, monai.engines, ignite.engine"],
            "bundle": [*python, "-W", "ignore", "-m", "monai.bundle", "run", *built],
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for repeat in range(REPEATS + 1):
            for name, words in commands.items():
                action = lambda w=words: subprocess.run(w, check=True, capture_output=True)  # noqa: E731
                if repeat:
                    took[name].append(seconds(action))
                else:
                    action()

    def more(name: str, than: str) -> list[float]:
        return [a - b for a, b in zip(took[name], took[than], strict=True)]

    return [
        row("import cggm, beyond Python's own start", more("import", "nothing"), "s", "< 0.15"),
        row("cggm --help", took["help"], "s", "< 0.5"),
        row(
            "monai.bundle run (mosi) until the trainer is built, beyond MONAI's imports",
            more("bundle", "monai"),
            "s",
            "stated",
        ),
    ]


def step_of(
    method: Method, network: nn.Module, classifiers: Any, task: Task, inputs: Any, label: Tensor
) -> Callable[[], None]:
    """A step of training on one batch."""
    balancer = Balancer(method, network, task, classifiers if method.needs_classifiers else None)
    groups = balancer.parameter_groups(lr=1e-3)
    optimizer = balancer.optimizer = torch.optim.SGD(groups, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        with balancer.capture():
            prediction = network(inputs)
        balancer.loss(prediction, label).backward()
        with balancer.modulate():
            optimizer.step()

    return step


def over_modalities(method: Method, modalities: int) -> Callable[[], None]:
    """A step of a transformer network on so many modalities of 30 steps."""
    torch.manual_seed(0)
    widths = {f"m{number}": 64 for number in range(modalities)}
    network = transformer_network(widths, 4)
    inputs = {name: (torch.randn(16, 30, 64), torch.full((16,), 30)) for name in widths}
    task = ClassificationTask(nn.CrossEntropyLoss(), lambda p, t: (p.argmax(1) == t).float())
    labels = torch.randint(0, 4, (16,))
    return step_of(method, network, transformer_classifiers(network), task, inputs, labels)


def over_pixels(method: Method, side: int) -> Callable[[], None]:
    """A step of a segmentation network on slices of so many pixels a side."""
    torch.manual_seed(0)
    network = segmentation_network(SEQUENCES, encoder="resnet18", channels=64, rates=(1, 2, 3))
    inputs, label = torch.randn(2, 4, side, side), torch.randint(0, 4, (2, 1, side, side))
    task = SegmentationTask(DiceCELoss(), RegionDice())
    return step_of(method, network, segmentation_classifiers(network), task, inputs, label)


def growth() -> list[Series]:
    """Seconds by the number of modalities, of pixels and of cases."""
    series = []
    for title, prepared, given, unit in (
        ("modalities", over_modalities, range(2, 9), 1),
        ("pixels of a slice", over_pixels, (64, 96, 128, 160, 192), 2),
    ):
        for method in (Joint, CGGM):
            actions = [prepared(method(), value) for value in given]
            found = [median_seconds(action) for action in actions]
            x = [value**unit for value in given]
            series.append(series_of(title, f"step of {method.__name__}", x, found))
    with tempfile.TemporaryDirectory() as folder:
        source = generate(f"{folder}/made", cases=4, spacing=4.0)
        counts, searched, converted = (8, 16, 32, 64), [], []
        for count in counts:
            many = copies(source, Path(folder) / str(count), count)
            searched.append(median_seconds(lambda m=many: find_cases(m)))
            store = Path(folder) / f"store-{count}"
            convert = lambda m=many, s=store: SliceStore.build(  # noqa: E731
                find_cases(m), s, workers=1, progress=False
            )
            converted.append(seconds(convert))
        series.append(series_of("cases", "finding them", list(counts), searched))
        series.append(series_of("cases", "converting them", list(counts), converted))
    return series


def median_seconds(action: Callable[[], object]) -> float:
    """Median time of an action, once warm."""
    action()
    return statistics.median(seconds(action) for _ in range(REPEATS))


def copies(source: Path, folder: Path, count: int) -> Path:
    """Cases under other names, by links to their files."""
    cases = sorted(path for path in source.iterdir() if path.is_dir())
    for number in range(count):
        case = cases[number % len(cases)]
        target = folder / f"Case_{number:05d}"
        target.mkdir(parents=True)
        for file in case.iterdir():
            os.link(file, target / file.name.replace(case.name, target.name))
    return folder


def series_of(by: str, what: str, x: list[int], found: list[float]) -> Series:
    """A line of a figure, with the share of its variance that a straight line explains."""
    r = float(np.corrcoef(x, found)[0, 1])
    return {"by": by, "what": what, "x": x, "seconds": found, "r2": round(r * r, 4)}


def draw(series: Sequence[Series], path: Path) -> None:
    """Draw the growth, a panel for each that grows, with straight lines."""
    kinds = list(dict.fromkeys(one["by"] for one in series))
    figure, grid = plt.subplots(1, len(kinds), figsize=(4.2 * len(kinds), 3.4))
    for axes, kind in zip(np.atleast_1d(grid), kinds, strict=True):
        for number, one in enumerate(s for s in series if s["by"] == kind):
            slope, base = np.polyfit(one["x"], one["seconds"], 1)
            color = f"C{number}"
            axes.plot(one["x"], one["seconds"], "o", color=color, label=one["what"])
            axes.plot(one["x"], slope * np.array(one["x"]) + base, color=color, linewidth=1)
        axes.set(xlabel=kind, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        axes.locator_params("x", nbins=5)
        axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def machine() -> str:
    """The machine in a sentence."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} thread used; "
        f"{platform.system()}, Python {platform.python_version()}, PyTorch {torch.__version__}"
    )


def page(content: dict[str, Any]) -> str:
    """The table in Markdown."""
    lines = [f"Measured on: {content['machine']}.", ""]
    lines += ["| what | median | smallest to largest | target |", "|---|---:|---:|---|"]
    for part in PARTS:
        for one in content.get(part, []):
            if part == "growth":
                fit = f"| {one['what']} by {one['by']}: fit of a straight line (R²) "
                lines.append(f"{fit}| {one['r2']:.3f} | | a line |")
            else:
                value, low, high = (f"{one[key]:.3g}" for key in ("value", "low", "high"))
                unit = "" if one["unit"] == "×" else f" {one['unit']}"
                span = f"{low} to {high}"
                lines.append(f"| {one['what']} | {value}{unit} | {span} | {one['target']} |")
    return "\n".join(lines) + "\n"


PARTS: dict[str, Callable[[], list[Any]]] = {
    "steps": steps,
    "memory": memory,
    "slices": slices,
    "case": case,
    "start": start,
    "growth": growth,
}


def main() -> None:
    """Measure, and write what is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of speed.json, speed.md and growth.png")
    parser.add_argument("--only", action="append", choices=PARTS, help="parts; all by default")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    file = given.folder / "speed.json"
    content = read_json(file) if file.is_file() else {}
    for part in given.only or PARTS:
        content |= {part: PARTS[part](), "machine": machine()}
        write_json(file, content)
        write_text(given.folder / "speed.md", page(content))
    if "growth" in content:
        draw(content["growth"], given.folder / "growth.png")
    print(page(content))


if __name__ == "__main__":
    main()
