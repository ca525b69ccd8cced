"""DGL: encoders on unimodal losses alone, the fusion on the joint loss alone."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from cggm.models import MultimodalNetwork, SegmentationNetwork
from cggm.pipelines.balancing import SegmentationTask
from cggm.pipelines.balancing.method import Run, Step
from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.dgl import DGL, unimodal_loss

from ..toy import ToyNetwork, ToyRun

NUMBERS = [("a",), ("a", "b"), ("a", "b", "c", "d")]


def batch(run: ToyRun) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.stack([sample["image"] for sample in run.data])
    return inputs, torch.stack([sample["label"] for sample in run.data])


def unimodal_predictions(run: ToyRun, features: dict, unimodal: str) -> dict[str, torch.Tensor]:
    """From one modality each: by its classifier, or by the fusion beside zeros."""
    if unimodal == "classifiers":
        return {name: classifier(features[name]) for name, classifier in run.classifiers.items()}
    return {name: run.network.fuse({name: feature}) for name, feature in features.items()}


@pytest.mark.parametrize("unimodal", ["fusion", "classifiers"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("modalities", NUMBERS)
def test_each_part_learns_from_its_own_loss(
    toy_run: type[ToyRun], modalities: tuple[str, ...], task: str, unimodal: Any
) -> None:
    alpha, settings = 3.0, {"modalities": modalities, "task": task}
    found = toy_run(DGL(alpha, unimodal=unimodal), **settings).first_step_gradients()
    joint, alone = toy_run(Joint(), **settings), toy_run(Joint(), **settings)
    inputs, label = batch(joint)
    joint.task.loss(joint.network(inputs), label).backward()
    predictions = unimodal_predictions(alone, alone.network.encode(inputs), unimodal)
    for prediction in predictions.values():
        (alpha * alone.task.loss(prediction, label)).backward()
    own = dict(alone.network.named_parameters())
    for name, parameter in joint.network.named_parameters():
        expected = parameter.grad if joint.part(name) == "fusion" else own[name].grad
        torch.testing.assert_close(found[name], expected)
    if unimodal == "classifiers":
        for name, parameter in alone.classifiers.named_parameters():
            torch.testing.assert_close(found[f"classifiers.{name}"], parameter.grad)


def test_the_loss_is_the_sum_of_all(toy_run: type[ToyRun]) -> None:
    run = toy_run(DGL(2.0), modalities=("a", "b"))
    inputs, label = batch(run)
    features = run.network.encode(inputs)
    expected = run.task.loss(run.network.fuse(features), label)
    for prediction in unimodal_predictions(run, features, "fusion").values():
        expected = expected + 2 * run.task.loss(prediction, label)
    for prediction in unimodal_predictions(run, features, "classifiers").values():
        expected = expected + run.task.loss(prediction, label)  # beside, on detached features
    run.run()
    assert run.trainer.state.output["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_classifier_of_its_own_does_not_feel_the_others(toy_run: type[ToyRun]) -> None:
    """Whatever the other modality is given, an encoder ends up the same."""
    ends = []
    for scale in (1.0, 100.0):
        method = DGL(unimodal="classifiers")
        run = toy_run(method, modalities=("a", "b"), epochs=3, samples=20)
        for sample in run.data:
            sample["image"][1] *= scale
        ends.append(run.run().network.encoders["a"].state_dict())
    assert all(torch.equal(ends[0][name], value) for name, value in ends[1].items())


@pytest.mark.parametrize("frozen", [True, False])
def test_an_encoder_that_is_frozen_stays(toy_run: type[ToyRun], frozen: bool) -> None:
    run = toy_run(DGL(), modalities=("a", "b"))
    run.network.encoders["a"].requires_grad_(not frozen)
    before = run.network.encoders["a"][0].weight.clone()
    run.run()
    assert torch.equal(before, run.network.encoders["a"][0].weight) is frozen


def test_a_network_without_a_fusion_is_refused(
    toy_run: type[ToyRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(DGL())
    monkeypatch.setattr(ToyNetwork, "fuse", MultimodalNetwork.fuse)
    with pytest.raises(ValueError, match=r"ToyNetwork has no fuse\(features\)"):
        run.run()


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
    assert DGL().settings() == {"alpha": 4.0, "unimodal": "fusion"}


@pytest.mark.parametrize("alpha", [0, -1, "4", True])
def test_wrong_settings_are_refused(alpha: Any) -> None:
    with pytest.raises(ValueError, match=r"alpha is .*; it is a number above 0"):
        DGL(alpha)


def test_an_unknown_way_to_predict_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unimodal is 'heads'; it is one of \['fusion', 'class"):
        DGL(unimodal="heads")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_maps_on_two_levels_pass_each_gradient_once(scale: float) -> None:
    """High-level features are made of low-level ones; a step with mixed precision's loss scale."""
    torch.manual_seed(0)
    network = SegmentationNetwork(["t1", "t2"], encoder="tu-test_resnet", channels=8).double()
    network.eval()
    task = SegmentationTask(lambda p, y: cross_entropy(p, y[:, 0]), lambda p, y: p.flatten(1)[:, 0])
    image, label = torch.randn(2, 2, 30, 34).double(), torch.randint(0, 4, (2, 1, 30, 34))
    features = network.encode(image)
    prediction = network(image)
    run = Run(
        network=network,
        encoders=dict(network.encoders.items()),
        classifiers={},
        task=task,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        batches=[],
        prepare_batch=lambda *_: None,
        device=torch.device("cpu"),
        epochs=1,
    )
    step = Step(run, None, prediction.sum(), prediction, label, features=features, loss_scale=scale)
    unimodal_loss(step, "t1").backward()
    zeros = tuple(torch.zeros_like(part) for part in features["t2"])
    alone = network.fuse({"t1": network.encode(image)["t1"], "t2": zeros})[:, :, :30, :34]
    parameters = list(network.encoders["t1"].parameters())
    expected = torch.autograd.grad(task.loss(alone, label), parameters)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-12)
    others = [p for n, p in network.named_parameters() if not n.startswith("encoders.t1.")]
    assert all(parameter.grad is None for parameter in others)
