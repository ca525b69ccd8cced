"""MMPareto: joint and unimodal gradients of an encoder without conflict (Wei & Hu, ICML 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ..balancing.distributed import is_distributed, summed_over_ranks
from ..balancing.method import Method, Run, Step
from ..balancing.settings import check_number


def pareto_weights(joint: Tensor, unimodal: Tensor) -> Tensor:
    """Weights of the two gradients of an encoder, which sum to one.

    Equal ones while the gradients agree. Where they conflict (their cosine is not positive), those
    of the shortest convex combination, which both losses' descent have in common.

    Args:
        joint: g, gradient of the joint loss, flat.
        unimodal: u, gradient of the classifier's loss, flat.

    Returns:
        Shape (2,).

    >>> pareto_weights(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0]))
    tensor([0.6000, 0.4000])
    """
    product = joint @ unimodal
    gap = (joint - unimodal).square().sum()
    # |a g + (1 - a) u|^2 is smallest at a = u.(u - g) / |g - u|^2.
    first = (unimodal @ (unimodal - joint) / gap.clamp(min=1e-30)).clamp(0, 1)
    conflict = (product <= 0) & (gap > 0)
    first = torch.where(conflict, first, torch.full_like(first, 0.5))
    return torch.stack([first, 1 - first])


def pareto_gradient(joint: Tensor, unimodal: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The gradient that an encoder gets instead of g + u.

    Args:
        joint: g, flat.
        unimodal: u, flat.
        gamma: rescaling, which brings back noise that helps to generalize.

    Returns:
        gamma h |g + u| / |h| with h = 2 (a g + b u), and the weights (a, b) of
        :func:`pareto_weights`; g + u where h is zero.

    >>> pareto_gradient(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 1.0]), 1.5)[0]
    tensor([2.2500, 1.5000])
    """
    weights = pareto_weights(joint, unimodal)
    combined = 2 * (weights[0] * joint + weights[1] * unimodal)
    plain, size = (joint + unimodal).norm(), combined.norm()
    # Opposite gradients cancel: no direction serves both.
    factor = torch.where(size > 0, plain / size.clamp(min=1e-30), torch.ones_like(size))
    return gamma * factor * combined, weights


class MMPareto(Method):
    """Combine each encoder's joint and unimodal gradients by Pareto weights where they conflict.

    Each encoder learns from the joint loss (gradient g) and from that of its own classifier (u).
    Where the two agree it gets g + u. Where they conflict it gets the combination of smallest norm,
    which makes both losses smaller, at the length of g + u; then everything is scaled by gamma.
    Fusion, head and classifiers get the plain gradients of their losses.

    Paper and released code: the paper restores the length of an encoder's whole gradient, released
    code that of each of its tensors, and only where it became shorter; over a whole encoder it
    never becomes longer. Released weights come from an iterative solver; for two gradients there is
    a closed form. Encoders are selected as modules here, by parameter names there. Gradients that
    are exactly perpendicular count as a conflict, as released. Opposite ones that cancel give zero.

    Extensions of ours: regression and segmentation, and more than two modalities, by the same rule.

    Args:
        gamma: rescaling, above 0; published is 1.5.

    Raises:
        ValueError: gamma is not a number above 0.
    """

    paper = (
        "Wei, Hu: MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance. "
        "ICML 2024"
    )
    changes = "encoders' gradients, of joint and unimodal losses"
    published_modalities = 2
    needs_classifiers = True
    attached = True

    def __init__(self, gamma: float = 1.5) -> None:
        check_number("gamma", gamma, above=0)
        self.gamma = gamma
        # u of each parameter, of the micro-batches so far, unscaled
        self._unimodal: list[Tensor] = []
        self._weights = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        self._unimodal = []

    def epoch_begins(self, run: Run) -> None:
        """Forget micro-batches of a step that an error cut off."""
        self._unimodal = []

    def loss(self, step: Step) -> Tensor:
        """The joint loss and the classifiers' losses; u is computed on the way."""
        losses = torch.stack(list(step.classifier_losses.values())).sum()
        parameters = learning(step)
        if not parameters:
            return step.task_loss + losses
        gradients = torch.autograd.grad(
            losses * step.loss_scale, parameters, retain_graph=True, allow_unused=True
        )
        pairs = zip(parameters, gradients, strict=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in pairs]
        total = step.task_loss + losses
        if total.requires_grad:
            # What a training multiplies its loss by (the share of a micro-batch, the loss scale) is
            # the gradient that arrives here.
            total.register_hook(lambda factor: self._keep(parts, factor / step.loss_scale**2))
        return total

    def _keep(self, parts: Sequence[Tensor], share: Tensor) -> None:
        parts = [part * share.to(part) for part in parts]
        if self._unimodal:
            parts = [before + part for before, part in zip(self._unimodal, parts, strict=True)]
        self._unimodal = list(parts)

    def gradients(self, step: Step) -> None:
        """Replace g + u of each encoder.

        Raises:
            RuntimeError: another loss was back-propagated than the one that :meth:`loss` gave.
        """
        if len(self._unimodal) != len(learning(step)):
            raise RuntimeError(
                f"MMPareto saw gradients of {len(self._unimodal)} parameters, and the encoders "
                f"learn {len(learning(step))}: back-propagate what balancer.loss returns, and "
                "freeze parameters before it, not between it and the step"
            )
        kept, self._unimodal = iter(averaged(self._unimodal)), []
        weights = []
        for encoder in step.encoders.values():
            parameters = [p for p in encoder.parameters() if p.requires_grad]
            pairs = [(p, next(kept)) for p in parameters]
            grads = [(p.grad, u) for p, u in pairs if p.grad is not None]
            if not grads:
                weights.append(torch.full((2,), 0.5))
                continue
            unimodal = torch.cat([u.flatten() for _, u in grads]) * step.gradient_scale
            joint = torch.cat([g.flatten() for g, _ in grads]) - unimodal
            combined, pair = pareto_gradient(joint, unimodal, self.gamma)
            sizes = [g.numel() for g, _ in grads]
            for (gradient, _), part in zip(grads, combined.split(sizes), strict=True):
                gradient.copy_(part.view_as(gradient))
            weights.append(pair)
        device = step.task_loss.device
        self._weights = torch.stack([2 * pair[0].float().to(device) for pair in weights])

    def record(self) -> dict[str, Tensor]:
        """Twice the weight of the joint gradient: 1 where the two agreed."""
        return {"balance": self._weights}


def learning(step: Step) -> list[Tensor]:
    """The parameters of all encoders that have gradients, encoder by encoder."""
    encoders = step.encoders.values()
    return [p for encoder in encoders for p in encoder.parameters() if p.requires_grad]


def averaged(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Mean over all processes, in one exchange."""
    if not is_distributed() or not gradients:
        return list(gradients)
    flat = summed_over_ranks(torch.cat([g.flatten() for g in gradients])) / dist.get_world_size()
    parts = flat.split([g.numel() for g in gradients])
    return [part.view_as(g) for part, g in zip(parts, gradients, strict=True)]
