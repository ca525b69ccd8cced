"""Do encoders learn from their classifiers alone, and the fusion from the joint loss alone?"""

from typing import Any

import pytest
import torch

from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.dgl import DGL

from ..toy import ToyRun

NUMBERS = [("a",), ("a", "b"), ("a", "b", "c", "d")]


def batch(run: ToyRun) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.stack([sample["image"] for sample in run.data])
    return inputs, torch.stack([sample["label"] for sample in run.data])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("modalities", NUMBERS)
def test_each_part_learns_from_its_own_loss(
    toy_run: type[ToyRun], modalities: tuple[str, ...], task: str
) -> None:
    alpha = 3.0
    found = toy_run(DGL(alpha), modalities=modalities, task=task).first_step_gradients()
    joint = toy_run(Joint(), modalities=modalities, task=task)
    inputs, label = batch(joint)
    joint.task.loss(joint.network(inputs), label).backward()
    alone = toy_run(Joint(), modalities=modalities, task=task)
    features = alone.network.encode(inputs)
    for name, classifier in alone.classifiers.items():
        (alpha * alone.task.loss(classifier(features[name]), label)).backward()
    own = dict(alone.network.named_parameters())
    for name, parameter in joint.network.named_parameters():
        expected = parameter.grad if joint.part(name) == "fusion" else own[name].grad
        torch.testing.assert_close(found[name], expected)
    for name, parameter in alone.classifiers.named_parameters():
        torch.testing.assert_close(found[f"classifiers.{name}"], parameter.grad)


def test_a_modality_does_not_feel_the_others(toy_run: type[ToyRun]) -> None:
    """Whatever the other modality is given, an encoder ends up the same."""
    ends = []
    for scale in (1.0, 100.0):
        run = toy_run(DGL(), modalities=("a", "b"), epochs=3, samples=20)
        for sample in run.data:
            sample["image"][1] *= scale
        ends.append(run.run().network.encoders["a"].state_dict())
    assert all(torch.equal(ends[0][name], value) for name, value in ends[1].items())


def test_validation_sees_the_features_as_they_are(toy_run: type[ToyRun]) -> None:
    run = toy_run(DGL()).run()
    inputs, _ = batch(run)
    assert all(h.requires_grad for h in run.network.encode(inputs).values())


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_training_moves_everything(toy_run: type[ToyRun], optimizer: type, steps: int) -> None:
    run = toy_run(DGL(), optimizer=optimizer, accumulation_steps=steps, epochs=2, samples=20)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.run()
    for name, value in run.network.state_dict().items():
        assert value.isfinite().all()
        assert not torch.equal(value, before[name]), name


def test_accumulated_batches_are_one_batch(toy_run: type[ToyRun]) -> None:
    whole = toy_run(DGL(), batch_size=8).run()
    parts = toy_run(DGL(), batch_size=4, accumulation_steps=2).run()
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], value)


def test_it_remembers_nothing() -> None:
    assert DGL().state_dict() == {}
    assert DGL().settings() == {"alpha": 4.0}


@pytest.mark.parametrize("alpha", [0, -1, "4", True])
def test_wrong_settings_are_refused(alpha: Any) -> None:
    with pytest.raises(ValueError, match=r"alpha is .*; it is a number above 0"):
        DGL(alpha)
