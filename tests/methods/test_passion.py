"""PASSION: who lags is taught more, who is absent teaches and learns nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cggm.models import segmentation_classifiers, segmentation_network
from cggm.pipelines.balancing import Balancer, RegionTask, SegmentationTask
from cggm.pipelines.balancing.class_means import similarities_by_image, similarities_in_batch
from cggm.pipelines.methods import PASSION
from cggm.pipelines.methods.passion import (
    distillation,
    moved_weights,
    prototype_distances,
    relative_preferences,
)
from cggm.pipelines.segmentation import DiceCELoss, RegionDice
from cggm.pipelines.segmentation.losses import RegionLoss
from cggm.pipelines.segmentation.outputs import segmentation_task

from ..toy import MODALITIES, ToyRun

SEQUENCES = ["flair", "t1ce"]
CLASSES = segmentation_task("classes", DiceCELoss(), RegionDice())
REGIONS = segmentation_task("regions", RegionLoss(), RegionDice())


def test_preferences_are_relative_and_of_those_that_are_there() -> None:
    distances = torch.tensor([[0.2, 0.1, 0.3, 0.4], [0.5, 9.0, 0.5, 9.0], [0.0, 0.0, 0.0, 0.0]])
    having = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]]).bool()
    found = relative_preferences(distances, having)
    torch.testing.assert_close(found[0], torch.tensor([0.2, 0.6, -0.2, -0.6]))
    assert found[1:].abs().sum() == 0
    assert relative_preferences(torch.tensor([0.7]), torch.tensor([True])).tolist() == [0]


def test_weights_stay_in_their_range_and_keep_their_norm() -> None:
    weights = torch.ones(4)
    for _ in range(2000):
        weights = moved_weights(weights, torch.tensor([0.6, 0.2, -0.2, -0.6]), 0.1)
    assert weights.norm().item() == pytest.approx(2)
    assert 0 < weights[0] < weights[3] and bool((weights.diff() >= 0).all())
    torch.testing.assert_close(moved_weights(torch.ones(3), torch.zeros(3), 1.0), torch.ones(3))


def test_a_student_that_agrees_has_nothing_to_learn() -> None:
    logits = torch.randn(2, 4, 3, 3)
    assert distillation(logits, logits, 4.0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert bool((distillation(-logits, logits, 4.0) > 0).all())
    maps = similarities_by_image(torch.randn(2, 5, 3, 3), torch.randint(0, 3, (2, 6, 6)))
    assert [part.sum().item() for part in prototype_distances(maps, maps)] == [0, 0]


def test_similarities_of_a_sample_alone_in_its_class_are_1() -> None:
    vectors, label = torch.randn(3, 4), torch.tensor([0, 2, 2])
    found, there = similarities_in_batch(vectors, label)
    assert found.shape == (3, 2, 1) and bool(there.all())
    assert found[0, 0].item() == pytest.approx(1)


def test_the_lagging_modality_is_taught_more(toy_run: type[ToyRun]) -> None:
    run = toy_run(PASSION(eta=0.2), epochs=4, samples=32, batch_size=32).run()
    assert run.modulation is not None
    weights, distance = (run.modulation.record[key] for key in ("balance", "distance"))
    far, near = max(distance, key=distance.__getitem__), min(distance, key=distance.__getitem__)
    assert weights[far] > 1 > weights[near]
    assert sum(w * w for w in weights.values()) == pytest.approx(3, rel=1e-5)


def test_no_weight_at_all_leaves_the_losses_of_those_that_lag(toy_run: type[ToyRun]) -> None:
    run = toy_run(None)
    balancer = Balancer(
        PASSION(0.0, 0.0), run.network, run.task, run.classifiers, optimizer=run.optimizer
    )
    balancer.start(1)
    balancer.begin_epoch(1)
    batch, label = (torch.stack([s[key] for s in run.data]) for key in ("image", "label"))
    with balancer.capture():
        prediction = run.network(batch)
    loss = balancer.loss(prediction, label)
    step = balancer.step
    assert step is not None
    added = (loss - step.task_loss).item()
    alone = {name: value.item() for name, value in step.classifier_losses.items()}
    sums = [sum(v for n, v in alone.items() if n in some) for some in subsets()]
    assert min(abs(added - total) for total in sums) < 1e-5
    assert 0 < added < sum(alone.values())


def subsets() -> list[list[str]]:
    return [[n for i, n in enumerate(MODALITIES) if number >> i & 1] for number in range(1, 7)]


def volumes(present: Tensor, task: SegmentationTask) -> tuple[dict[str, float], dict[str, Tensor]]:
    """A step on volumes: distances, and gradients by encoder."""
    torch.manual_seed(0)
    outputs = 3 if isinstance(task, RegionTask) else 4
    network = segmentation_network(SEQUENCES, architecture="segresnet", channels=8, classes=outputs)
    balancer = Balancer(PASSION(), network, task, segmentation_classifiers(network))
    balancer.optimizer = torch.optim.SGD(balancer.parameter_groups(lr=0.1))
    balancer.start(1)
    balancer.begin_epoch(1)
    with balancer.capture():
        prediction = network(torch.randn(2, 2, 8, 8, 16), present)
    balancer.loss(prediction, torch.randint(0, 4, (2, 1, 8, 8, 16))).backward()
    with balancer.modulate():
        balancer.optimizer.step()
    gradients = {
        name: torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])
        for name, encoder in network.encoders.items()
    }
    return balancer.record["distance"], gradients


def test_who_is_absent_has_no_distance_and_learns_nothing() -> None:
    everywhere, _ = volumes(torch.tensor([[1, 1], [1, 1]]).bool(), CLASSES)
    assert min(everywhere.values()) > 0
    distance, gradients = volumes(torch.tensor([[1, 0], [1, 0]]).bool(), CLASSES)
    assert distance["flair"] == pytest.approx(0, abs=1e-6), "it is all there is"
    assert distance["t1ce"] == 0 and not bool(gradients["t1ce"].any())
    mixed, gradients = volumes(torch.tensor([[1, 1], [1, 0]]).bool(), CLASSES)
    assert mixed["t1ce"] > 0 and bool(gradients["t1ce"].isfinite().all())


def test_regions_that_overlap_are_taught_too() -> None:
    distance, gradients = volumes(torch.ones(2, 2).bool(), REGIONS)
    assert min(distance.values()) > 0
    assert all(bool(g.isfinite().all()) and bool(g.any()) for g in gradients.values())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kl": -1}, "kl is -1; it is a number, 0 or larger"),
        ({"temperature": 0}, "temperature is 0; it is a number above 0"),
        ({"eta": "fast"}, "eta is 'fast'"),
    ],
)
def test_wrong_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PASSION(**setting)
