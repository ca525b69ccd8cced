"""Every method with the network for volumes; losses, scores and task on volumes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cggm.models import segmentation_classifiers, segmentation_network
from cggm.pipelines.balancing import Balancer, ModalityDropout, SegmentationTask
from cggm.pipelines.methods import CATALOGUE, create
from cggm.pipelines.segmentation import DiceCELoss, RegionDice

from .ready import SHORT

SEQUENCES = ["flair", "t1ce"]


def samples(count: int = 4) -> list[dict[str, Any]]:
    draws = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randn(2, 8, 8, 16, generator=draws),
            "label": torch.randint(0, 4, (1, 8, 8, 16), generator=draws),
            "id": f"P{number}",
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_method_trains_it(name: str, tmp_path: Path) -> None:
    kind = CATALOGUE[name]

    def build(late_fusion: str | None) -> torch.nn.Module:
        torch.manual_seed(0)
        return segmentation_network(
            SEQUENCES, architecture="segresnet", late_fusion=late_fusion, channels=8
        )

    settings = SHORT.get(name, {})
    if kind.teachers_by is not None:
        torch.save(build(CATALOGUE[kind.teachers_by].late_fusion).state_dict(), tmp_path / "t.pt")
        settings = settings | {"teachers": str(tmp_path / "t.pt")}
    method = create(name, {name: settings})
    network = build(method.late_fusion)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    balancer = Balancer(
        method,
        network,
        SegmentationTask(DiceCELoss(), RegionDice()),
        segmentation_classifiers(network),
    )
    groups = balancer.parameter_groups(lr=0.1)
    optimizer = balancer.optimizer = torch.optim.SGD(groups, lr=0.1)
    loader = DataLoader(samples(), batch_size=2)
    for _ in balancer.epochs(2, loader):
        for batch in loader:
            optimizer.zero_grad()
            with balancer.capture():
                prediction = network(batch["image"])
            balancer.loss(prediction, batch["label"], ids=batch["id"]).backward()
            with balancer.modulate():
                optimizer.step()
    after = network.state_dict()
    assert all(bool(value.isfinite().all()) for value in after.values())
    assert any(not torch.equal(value, before[key]) for key, value in after.items())


def test_dropout_masks_whole_sequences_of_volumes() -> None:
    network = segmentation_network(SEQUENCES, architecture="segresnet", channels=8).eval()
    balancer = Balancer(
        create("joint", {}),
        network,
        SegmentationTask(DiceCELoss(), RegionDice()),
        dropout=ModalityDropout(0.9, complete=0.0),
    )
    balancer.optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loader = DataLoader(samples(), batch_size=4)
    image, label = (next(iter(loader))[key] for key in ("image", "label"))
    for _ in balancer.epochs(1, loader):
        network.train()
        with balancer.capture():
            dropped = network(image)
        balancer.loss(dropped, label)
    network.eval()
    with torch.no_grad():
        subsets = [network(image, torch.tensor(s)) for s in ([1, 0], [0, 1], [1, 1])]
    found = [[torch.allclose(d, s[i], atol=1e-5) for s in subsets] for i, d in enumerate(dropped)]
    assert all(sum(row) == 1 for row in found)
    assert any(row[0] or row[1] for row in found)


def flat_and_deep() -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 4, 6, 10, generator=draws)
    return logits, torch.randint(0, 4, (2, 1, 6, 10), generator=draws)


def test_a_volume_of_one_slice_is_judged_as_the_slice() -> None:
    logits, label = flat_and_deep()
    deep, deep_label = logits[..., None], label[..., None]
    for loss in (DiceCELoss(), DiceCELoss(dice="pooled")):
        torch.testing.assert_close(loss(deep, deep_label), loss(logits, label))
    task = SegmentationTask(DiceCELoss(), RegionDice(soft=True))
    for judge in (task.scores, task.sample_losses, task.truth):
        torch.testing.assert_close(judge(deep, deep_label), judge(logits, label))
    maps = torch.rand(2, 5, 3, 5)
    flat = task.class_vectors((maps,), label)
    for part, other in zip(task.class_vectors((maps[..., None],), deep_label), flat, strict=True):
        torch.testing.assert_close(part, other)
