"""Samples that lack a modality: who judges it, and what is left for the fusion."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cggm.pipelines.balancing import Balancer, ClassificationTask, Step
from cggm.pipelines.methods import CGGM, MRD, MSLR, Method, ProgressRates

from ..toy import MODALITIES, ToyClassifier, ToyNetwork, probability_of_truth

HAVING = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]).bool()


TASK = ClassificationTask(nn.CrossEntropyLoss(), probability_of_truth)


class PartialNetwork(ToyNetwork):
    """A modality of zeros is absent, and so are its features."""

    def presence(self, inputs: Tensor) -> Tensor:
        return inputs.any(2)

    def encode(self, inputs: Tensor) -> dict[str, Tensor]:
        here = self.presence(inputs)
        features = super().encode(inputs)
        return {name: f * here[:, i : i + 1] for i, (name, f) in enumerate(features.items())}


def first_step(method: Method) -> tuple[Step, Tensor]:
    torch.manual_seed(0)
    network = PartialNetwork()
    classifiers = nn.ModuleDict({name: ToyClassifier() for name in MODALITIES})
    balancer = Balancer(method, network, TASK, classifiers)
    balancer.optimizer = torch.optim.SGD(balancer.parameter_groups(lr=0.1))
    inputs = torch.randn(6, 3, 3) * HAVING[:, :, None]
    label = torch.tensor([0, 1, 1, 0, 1, 0])
    with balancer.capture():
        prediction = network(inputs)
    balancer.loss(prediction, label).backward()
    assert balancer.step is not None
    return balancer.step, label


def test_a_modality_is_judged_on_the_samples_that_have_it() -> None:
    step, label = first_step(CGGM())
    for i, name in enumerate(MODALITIES[:2]):
        here = HAVING[:, i]
        own = step.classifiers[name](step.features[name][here])
        assert step.scores[i] == pytest.approx(probability_of_truth(own, label[here]).mean().item())
        assert step.classifier_losses[name].item() == pytest.approx(
            cross_entropy(own, label[here]).item()
        )
        assert torch.equal(step.classifier_predictions[name][here], own)
        assert not bool(step.classifier_predictions[name][~here].any())
    assert step.scores[2].isnan() and step.classifier_losses["video"] == 0, "nobody has it"
    for parameter in step.classifiers["video"].parameters():
        assert parameter.grad is not None and not bool(parameter.grad.any())


@pytest.mark.parametrize("method", [CGGM(lam=0, rule="paper"), ProgressRates(), MSLR()])
def test_a_modality_that_comes_back_is_where_it_was(method: Method) -> None:
    """A batch without it is no score of 0: it has neither fallen, nor risen when it is back."""
    torch.manual_seed(0)
    network = PartialNetwork()
    classifiers = nn.ModuleDict({name: ToyClassifier() for name in MODALITIES})
    balancer = Balancer(method, network, TASK, classifiers)
    balancer.optimizer = torch.optim.SGD(balancer.parameter_groups(lr=1e-6))
    inputs, label = torch.randn(6, 3, 3), torch.tensor([0, 1, 1, 0, 1, 0])
    records = []
    for epoch in balancer.epochs(2):
        for at in range(3):
            here = inputs * torch.tensor([1.0, 1.0, float(at != 1)])[:, None]
            with balancer.capture():
                prediction = network(here)
            balancer.loss(prediction, label).backward()
            with balancer.modulate():
                balancer.optimizer.step()
            balancer.optimizer.zero_grad()
            if epoch == 2:
                records.append(balancer.record)
    away, back = records[1:]
    assert math.isnan(away["score"]["video"])
    if "improvement" in back:
        assert away["improvement"]["video"] == 0
        assert abs(back["improvement"]["video"]) < 1e-4
    assert all(math.isfinite(factor) for factor in back["balance"].values())
    state = method.state_dict()
    assert all(bool(t.isfinite().all()) for t in state.values() if isinstance(t, Tensor))


def test_mrd_drops_what_is_there() -> None:
    step, _ = first_step(MRD(p=0.9))
    left = torch.stack([step.seen[name].any(1) for name in MODALITIES], 1)
    assert bool(left.any(1).all()) and not bool((left & ~HAVING).any())
