"""Equations 6 to 13 of Guo et al., computed again with nothing of ours; only the guard is added."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Gradients = dict[str, Tensor]


def guarded(improvement: Mapping[str, float], rho: float) -> dict[str, float]:
    """Eq. 7, kept in [0, rho], and 1 where the improvements cancel."""
    total, size = sum(improvement.values()), sum(map(abs, improvement.values()))
    if total <= 0.1 * size:
        return dict.fromkeys(improvement, 1.0)
    return {n: min(max(rho * (total - own) / total, 0.0), rho) for n, own in improvement.items()}


def recomputed(
    network: nn.Module,
    classifiers: nn.ModuleDict,
    prediction: Tensor,
    guesses: Mapping[str, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    label: Tensor,
    balance: Mapping[str, float],
    lam: float,
) -> tuple[Gradients, Gradients, Gradients]:
    """Gradients of the network without and with the direction term, and of the classifiers.

    Args:
        network: its last layer is ``head``.
        classifiers: theirs too.
        prediction: of the network, with its graph.
        guesses: of the classifiers on detached features.
        loss: (prediction, label) to a scalar.
        label: the truth.
        balance: B of eq. 7.
        lam: of eq. 13.
    """
    task_loss = loss(prediction, label)
    weight = network.get_submodule("head").get_parameter("weight")
    fusion = torch.autograd.grad(task_loss, weight, create_graph=True)[0].flatten()  # eq. 10
    misalignment = torch.zeros((), dtype=prediction.dtype)
    of_classifiers: Gradients = {}
    for name, guess in guesses.items():
        own = dict(classifiers[name].named_parameters())
        found = torch.autograd.grad(loss(guess, label), list(own.values()))
        of_classifiers |= {f"{name}.{k}": g for k, g in zip(own, found, strict=True)}
        unimodal = of_classifiers[f"{name}.head.weight"].flatten()  # eq. 9
        cosine = fusion @ unimodal / (fusion.norm() * unimodal.norm())
        misalignment += (abs(balance[name]) - balance[name] * cosine) / len(guesses)  # eq. 12
    parameters = dict(network.named_parameters())
    plain = torch.autograd.grad(task_loss, list(parameters.values()), retain_graph=True)
    whole = torch.autograd.grad(task_loss + lam * misalignment, list(parameters.values()))  # eq. 13
    return (
        dict(zip(parameters, plain, strict=True)),
        dict(zip(parameters, whole, strict=True)),
        of_classifiers,
    )


def check(found: Tensor, factor: float, gradient: Tensor, name: str) -> None:
    """Whether a gradient is `factor` times another one; factors are known to five digits.

    Scores are single precision.
    """
    most = 5e-5 * gradient.abs().max().item() + 1e-9
    torch.testing.assert_close(found, factor * gradient, rtol=0, atol=most, msg=name)
