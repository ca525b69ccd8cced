"""Mistakes in a loop of one's own that would change nothing, or count wrongly, in silence."""

import copy
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import BaseModelOutput

from cggm.pipelines.balancing import Balancer, score_by_name
from cggm.pipelines.balancing.features import detached, masked
from cggm.pipelines.methods import AGM, CGGM, DGL, Joint, Method, MMPareto, ProgressRates

from ..toy import MODALITIES, ToyClassifier, ToyNetwork

INPUTS, LABEL = torch.randn(6, 3, 3), torch.tensor([0, 1, 1, 0, 1, 0])


def balanced(method: Method) -> Balancer:
    """A balancer of the toy network."""
    classifiers = nn.ModuleDict({name: ToyClassifier() for name in MODALITIES})
    balancer = Balancer(
        method, ToyNetwork(), loss=cross_entropy, scores="accuracy", classifiers=classifiers
    )
    balancer.optimizer = torch.optim.SGD(balancer.parameter_groups(lr=0.1))
    return balancer


def update(balancer: Balancer) -> None:
    """One step of the optimizer."""
    with balancer.capture():
        prediction = balancer.network(INPUTS)
    balancer.loss(prediction, LABEL).backward()
    assert balancer.optimizer is not None
    with balancer.modulate():
        balancer.optimizer.step()


def test_a_step_outside_of_modulate_is_refused() -> None:
    balancer = balanced(CGGM())
    with balancer.capture():
        prediction = balancer.network(INPUTS)
    balancer.loss(prediction, LABEL).backward()
    optimizer = balancer.optimizer
    assert optimizer is not None
    with pytest.raises(RuntimeError, match="outside of `with balancer.modulate.*CGGM would change"):
        optimizer.step()
    with balancer.modulate():
        optimizer.step()
    balancer.stop()
    optimizer.step()  # the training has ended


def test_a_network_whose_encoders_were_not_heard_is_refused() -> None:
    balancer = balanced(Joint())
    prediction = balancer.network(INPUTS)
    with balancer.capture():
        pass
    with pytest.raises(RuntimeError, match="no encoder was heard"):
        balancer.loss(prediction, LABEL)


def test_an_evaluation_forms_no_loss_to_balance() -> None:
    balancer = balanced(CGGM())
    with torch.no_grad(), balancer.capture():
        prediction = balancer.network(INPUTS)
        with pytest.raises(RuntimeError, match=r"gradients are off.*balancer\.task\.loss"):
            balancer.loss(prediction, LABEL)
    assert balancer.step is None


def test_predictions_and_labels_are_one_tensor_each() -> None:
    balancer = balanced(Joint())
    with balancer.capture():
        prediction = balancer.network(INPUTS)
    with pytest.raises(TypeError, match=r"the prediction is a dict.*output\.logits"):
        balancer.loss({"logits": prediction}, LABEL)
    with pytest.raises(TypeError, match="the label is a list"):
        balancer.loss(prediction, LABEL.tolist())


@pytest.mark.parametrize("method", [CGGM, MMPareto])
def test_a_loss_that_was_not_back_propagated_is_refused(method: type[Method]) -> None:
    balancer = balanced(method())
    with balancer.capture():
        prediction = balancer.network(INPUTS)
    balancer.loss(prediction, LABEL)
    with pytest.raises(RuntimeError, match="back-propagate it before every step"):
        balancer.start_update()


def test_mmpareto_needs_the_loss_that_it_formed() -> None:
    balancer = balanced(MMPareto())
    with balancer.capture():
        prediction = balancer.network(INPUTS)
    balancer.loss(prediction, LABEL)
    cross_entropy(prediction, LABEL).backward()
    with pytest.raises(RuntimeError, match=r"back-propagate what balancer\.loss returns"):
        balancer.start_update()


@pytest.mark.parametrize("part", ["head", "classifiers"])
def test_a_frozen_last_layer_is_refused_where_its_gradient_is_read(part: str) -> None:
    for method in (CGGM(), Joint()):
        balancer = balanced(method)
        modules = balancer.classifiers if part == "classifiers" else {"": balancer.head}
        for module in modules.values():
            assert module is not None
            module.requires_grad_(False)
        with balancer.capture():
            prediction = balancer.network(INPUTS)
        if isinstance(method, Joint):
            balancer.loss(prediction, LABEL).backward()
            continue
        with pytest.raises(ValueError, match="the last layer of the .* is frozen"):
            balancer.loss(prediction, LABEL)


@pytest.mark.parametrize("frozen", [MODALITIES[:1], MODALITIES])
def test_frozen_encoders_stay_as_they_are(frozen: tuple[str, ...]) -> None:
    for method in (AGM(), DGL(), MMPareto()):
        balancer = balanced(method)
        encoders = [balancer.encoders[name].requires_grad_(False) for name in frozen]
        before = [p.clone() for encoder in encoders for p in encoder.parameters()]
        update(balancer)
        after = [p for encoder in encoders for p in encoder.parameters()]
        assert all(map(torch.equal, before, after))


def shared_by_two(method: Method, *, judged: bool) -> Balancer:
    """A balancer of a network with one encoder for two modalities."""
    network = ToyNetwork()
    network.encoders["text"] = network.encoders["audio"]
    classifiers = {name: ToyClassifier() for name in MODALITIES} if judged else None
    balancer = Balancer(
        method, network, loss=cross_entropy, scores="accuracy", classifiers=classifiers
    )
    balancer.optimizer = torch.optim.SGD(balancer.parameter_groups(lr=0.1))
    return balancer


def test_an_encoder_for_two_modalities_is_trained_by_joint_alone() -> None:
    balancer = shared_by_two(Joint(), judged=False)
    before = copy.deepcopy(balancer.network.state_dict())
    update(balancer)
    expected = ToyNetwork()
    expected.encoders["text"] = expected.encoders["audio"]
    expected.load_state_dict(before)
    cross_entropy(expected(INPUTS), LABEL).backward()
    torch.optim.SGD(expected.parameters(), lr=0.1).step()
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(balancer.network.state_dict()[name], tensor)
    for method, judged in ((Joint(), True), (CGGM(), True)):
        with pytest.raises(ValueError, match="'audio' and 'text' share parameters.*use Joint"):
            shared_by_two(method, judged=judged)


def test_a_method_trains_with_one_balancer() -> None:
    method = CGGM()
    balanced(method)  # built anew before it trained, as in a notebook
    first, second = balanced(method), balanced(method)
    update(first)
    with pytest.raises(ValueError, match="this CGGM has trained with another balancer"):
        second.capture()
    update(first)
    update(balanced(copy.deepcopy(method)))


def test_the_state_of_another_method_is_refused() -> None:
    balancer = balanced(CGGM())
    update(balancer)
    state = balancer.state_dict()
    with pytest.raises(ValueError, match="a training with CGGM, and the balancer has Joint"):
        balanced(Joint()).load_state_dict(state)
    resumed = balanced(CGGM())
    resumed.load_state_dict(state)
    assert resumed.state_dict().keys() == state.keys()
    del state["method_class"]  # as earlier versions kept it
    resumed.load_state_dict(state)


@pytest.mark.parametrize("done", [0, 2])
def test_an_epoch_has_to_begin_where_epochs_were_told(done: int) -> None:
    balancer = balanced(Joint())
    balancer.start(3, epoch=done)
    with pytest.raises(RuntimeError, match=r"none is under way.*begin_epoch\(number\)"):
        balancer.capture()
    balancer.begin_epoch(done + 1)
    update(balancer)
    balancer.end_epoch()
    with pytest.raises(RuntimeError, match="none is under way"):
        balancer.capture()


def test_an_encoder_of_another_optimizer_cannot_be_stepped() -> None:
    balancer = balanced(ProgressRates())
    groups = balancer.parameter_groups(lr=0.1)
    balancer.optimizer = torch.optim.SGD(groups[1:])
    with balancer.capture():
        prediction = balancer.network(INPUTS)
    balancer.loss(prediction, LABEL).backward()
    with pytest.raises(
        ValueError, match=f"encoder of {MODALITIES[0]!r} is to be scaled, but the balancer"
    ):
        balancer.start_update()


@pytest.mark.parametrize(
    ("prediction", "label"), [((4, 1), (4,)), ((4,), (4,)), ((4,), (4, 1)), ((4, 1), (4, 1))]
)
def test_regressions_are_scored_sample_by_sample(prediction: tuple, label: tuple) -> None:
    value, truth = torch.tensor([1.0, 2.0, 3.0, -4.0]), torch.tensor([1.5, 2.0, 1.0, 4.0])
    scores = score_by_name("mae")(value.view(prediction), truth.view(label))
    assert scores.tolist() == [-0.5, 0.0, -2.0, -8.0]
    assert score_by_name("acc2")(value.view(prediction), truth.view(label)).tolist() == [1, 1, 1, 0]
    with pytest.raises(ValueError, match="one value for a sample"):
        score_by_name("mae")(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="give a logit for each class"):
        score_by_name("accuracy")(torch.zeros(4, 1), torch.zeros(4))


class Output(NamedTuple):
    state: Tensor
    size: int


def test_features_keep_their_kind_and_hide_no_tensor() -> None:
    feature = Output(torch.ones(2, 3, requires_grad=True), 3)
    cut = detached(feature)
    assert isinstance(cut, Output) and not cut.state.requires_grad and cut.size == 3
    output = BaseModelOutput(last_hidden_state=torch.ones(2, 3, 4, requires_grad=True))
    seen = masked(output, torch.tensor([True, False]))
    assert isinstance(seen, BaseModelOutput) and not bool(seen.last_hidden_state[1].any())
    with pytest.raises(TypeError, match="gave a SimpleNamespace: tensors in it cannot be cut"):
        detached(SimpleNamespace(state=torch.ones(2)))
