"""Time and memory of a CGGM step beside a step of joint training, in one run.

    python benchmarks/training_step.py --encoder resnet18 --channels 64 --size 96 --batch_size 8

Steps of all settings are interleaved, so that whatever else the machine does hits all alike; the
figures to read are the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from monai.engines import SupervisedTrainer
from torch.utils.data import DataLoader

from cggm.models import SegmentationNetwork, segmentation_classifiers
from cggm.pipelines.balancing import Task, parameter_groups
from cggm.pipelines.handlers import Modulation
from cggm.pipelines.methods import CGGM, Joint, Method
from cggm.pipelines.segmentation import DiceCELoss, RegionDice

SETTINGS: dict[str, Method | None] = {
    "joint": None,
    "joint, recorded": Joint(),
    "cggm": CGGM(),
    "cggm, no direction": CGGM(direction="none"),
    "cggm, direction weight": CGGM(direction="weight"),
}


class Steps:
    """A trainer that runs one step at a time on the same batch."""

    def __init__(self, method: Method | None, given: argparse.Namespace) -> None:
        torch.manual_seed(0)
        network = SegmentationNetwork(encoder=given.encoder, channels=given.channels)
        classifiers = None if method is None else segmentation_classifiers(network)
        loss = DiceCELoss()
        groups = parameter_groups(network, classifiers, lr=1e-3)
        handlers = []
        if method is not None:
            handlers = [Modulation(method, network, Task(loss, RegionDice()), classifiers)]
        image = torch.randn(given.batch_size, len(network.modalities), given.size, given.size)
        label = torch.randint(0, 4, (given.batch_size, 1, given.size, given.size))
        batch = [{"image": i, "label": la} for i, la in zip(image, label, strict=True)]
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=DataLoader(batch, batch_size=given.batch_size),
            network=network,
            optimizer=torch.optim.SGD(groups, momentum=0.9),
            loss_function=loss,
            train_handlers=handlers,
            decollate=False,
        )

    def step(self) -> float:
        """Run one step and return its seconds."""
        self.trainer.state.max_epochs = self.trainer.state.epoch + 1
        began = time.perf_counter()
        self.trainer.run()
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    runs = {name: Steps(method, given) for name, method in SETTINGS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(given.repeats + 2):
        for name, run in runs.items():
            took = run.step()
            if repeat >= 2:  # the first steps set memory aside
                seconds[name].append(took)
    print(f"{given.encoder}, {given.channels} channels, {given.batch_size} x {given.size}^2")
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values, seconds["joint"], strict=True)]
        print(
            f"{name:24} {1000 * statistics.median(values):8.0f} ms   "
            f"{statistics.median(ratios):.3f} times joint "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
