"""MMPareto: the Pareto combination per encoder, under accumulation and AMP."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cggm.pipelines.balancing.method import Run, Step
from cggm.pipelines.methods import Joint
from cggm.pipelines.methods.mmpareto import MMPareto, pareto_gradient, pareto_weights

from ..toy import ToyRun


def pairs() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(200, 2, 6, generator=generator).double()
    scales = torch.logspace(-4, 4, 200).double()
    return [(g, scale * u) for (g, u), scale in zip(found, scales, strict=True)]


def test_both_losses_descend_and_the_length_is_kept() -> None:
    conflicts = 0
    for joint, unimodal in pairs():
        gradient, weights = pareto_gradient(joint, unimodal, 1.5)
        tolerance = 1e-9 * gradient.norm() * (joint.norm() + unimodal.norm())
        assert gradient @ joint >= -tolerance
        assert gradient @ unimodal >= -tolerance
        torch.testing.assert_close(gradient.norm(), 1.5 * (joint + unimodal).norm())
        assert weights.min() >= 0
        assert weights.sum().item() == pytest.approx(1)
        if joint @ unimodal < 0:
            conflicts += 1
            best = (weights[0] * joint + weights[1] * unimodal).norm()
            for share in torch.linspace(0, 1, 21).double():
                assert best <= (share * joint + (1 - share) * unimodal).norm() + 1e-12
        else:
            torch.testing.assert_close(gradient, 1.5 * (joint + unimodal))
    assert conflicts > 50


def test_the_two_gradients_may_be_swapped() -> None:
    for joint, unimodal in pairs():
        torch.testing.assert_close(
            pareto_weights(joint, unimodal).flip(0), pareto_weights(unimodal, joint)
        )


@pytest.mark.parametrize(
    ("joint", "unimodal", "expected"),
    [
        ([0.0, 0], [0, 0], [0, 0]),
        ([1.0, 0], [0, 0], [0, 0]),  # perpendicular to nothing: the shortest is nothing
        ([1.0, 0], [-1, 0], [0, 0]),
        ([2.0, 0], [2, 0], [6, 0]),
    ],
)
def test_degenerate_gradients(joint: Any, unimodal: Any, expected: Any) -> None:
    gradient, _ = pareto_gradient(torch.tensor(joint), torch.tensor(unimodal).float(), 1.5)
    assert gradient.tolist() == expected


def expected_gradients(run: ToyRun, gamma: float = 1.5) -> dict[str, Tensor]:
    """By brute force, on the whole data as one batch."""
    inputs = torch.stack([sample["image"] for sample in run.data])
    label = torch.stack([sample["label"] for sample in run.data])
    features = run.network.encode(inputs)
    loss = run.task.loss(run.network.fuse(features), label)
    names = dict(run.network.named_parameters())
    grads = torch.autograd.grad(loss, list(names.values()), retain_graph=True)
    found = dict(zip(names, grads, strict=True))
    for name, encoder in run.network.encoders.items():
        unimodal = run.task.loss(run.classifiers[name](features[name]), label)
        own = {k: v for k, v in names.items() if k.startswith(f"encoders.{name}.")}
        u = torch.autograd.grad(unimodal, list(own.values()), retain_graph=True)
        classifier = dict(run.classifiers[name].named_parameters())
        plain = torch.autograd.grad(unimodal, list(classifier.values()), retain_graph=True)
        for key, gradient in zip(classifier, plain, strict=True):
            found[f"classifiers.{name}.{key}"] = gradient
        flat, _ = pareto_gradient(
            torch.cat([found[k].flatten() for k in own]), torch.cat([x.flatten() for x in u]), gamma
        )
        parts = flat.split([v.numel() for v in own.values()])
        found.update({k: p.view_as(own[k]) for k, p in zip(own, parts, strict=True)})
        assert len(list(encoder.parameters())) == len(own)
    return found


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("modalities", [("a",), ("a", "b"), ("a", "b", "c", "d")])
def test_gradients_are_those_of_the_paper(
    toy_run: type[ToyRun], modalities: tuple[str, ...], task: str
) -> None:
    settings: dict[str, Any] = {"modalities": modalities, "task": task, "dtype": torch.float64}
    run = toy_run(MMPareto(), **settings)
    found = run.first_step_gradients()
    expected = expected_gradients(toy_run(Joint(), **settings))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)
    assert set(run.modulation.record["balance"]) == set(modalities)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_accumulated_batches_are_one_batch(toy_run: type[ToyRun], batch_size: int) -> None:
    settings: dict[str, Any] = {"dtype": torch.float64, "samples": 8}
    steps = 8 // batch_size
    parts = toy_run(MMPareto(), batch_size=batch_size, accumulation_steps=steps, **settings)
    found = parts.first_step_gradients()
    for name, gradient in expected_gradients(toy_run(Joint(), **settings)).items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize("scale", [1024.0, 2.0**-3])
def test_the_loss_scale_of_mixed_precision_cancels(scale: float) -> None:
    """As GradScaler and MONAI do it: the loss times the scale over the micro-batches."""
    grads = []
    for factor, amount in ((1.0, 1), (scale, 1), (scale, 2)):
        torch.manual_seed(0)
        encoder, head, classifier = (nn.Linear(3, 3).double() for _ in range(3))
        run = Run(
            network=nn.Module(),
            encoders={"a": encoder},
            classifiers={"a": classifier},
            task=Any,  # type: ignore[arg-type]
            optimizer=torch.optim.SGD(encoder.parameters(), lr=1.0),
            batches=[],
            prepare_batch=lambda *_: None,
            device=torch.device("cpu"),
            epochs=1,
        )
        method = MMPareto()
        for _ in range(amount):  # of the same batch
            feature = encoder(torch.eye(3).double())
            joint, unimodal = head(feature).exp().mean(), classifier(feature).square().mean()
            step = Step(
                run, None, joint, joint, joint,
                classifier_losses={"a": unimodal}, loss_scale=factor,
            )  # fmt: skip
            (method.loss(step) * (factor / amount)).backward()
        method.gradients(step)
        grads.append([p.grad / factor for p in (*encoder.parameters(), *classifier.parameters())])
    for other in grads[1:]:
        for one, two in zip(grads[0], other, strict=True):
            torch.testing.assert_close(one, two)


def test_infinite_gradients_stay_so_that_the_scaler_sees_them() -> None:
    gradient, _ = pareto_gradient(torch.tensor([float("inf"), 1]), torch.tensor([1.0, 1]), 1.5)
    assert not gradient.isfinite().all()


def test_frozen_parameters_are_left_alone(toy_run: type[ToyRun]) -> None:
    run = toy_run(MMPareto(), epochs=2)
    layer = run.network.encoders["audio"][0]
    layer.weight.requires_grad_(False)
    before = layer.weight.clone()
    bias = layer.bias.detach().clone()
    run.run()
    assert torch.equal(layer.weight, before)
    assert not torch.equal(layer.bias, bias)


@pytest.mark.parametrize("gamma", [0, -1, "1.5", True])
def test_wrong_settings_are_refused(gamma: Any) -> None:
    with pytest.raises(ValueError, match=r"gamma is .*; it is a number above 0"):
        MMPareto(gamma)
