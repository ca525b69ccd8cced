"""Adaptive gradient modulation (Li et al., ICCV 2023)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..balancing.distributed import summed_over_ranks
from ..balancing.error_scale import ErrorScale
from ..balancing.features import nonempty_subsets
from ..balancing.method import Method, Run, Step, last_weight
from ..balancing.settings import check_epochs, check_number
from ..balancing.subsets import check_fusion, fused, precise

# Largest loss of a sample, as released: probabilities count as 1e-8 or more.
WORST = -math.log(1e-8)


def response_weights(count: int) -> Tensor:
    """What each coalition of modalities contributes to each modality's response.

    Shapley values of the game "output given only these modalities", in which the empty coalition
    gives zero: the responses add up to the output of all. For two modalities this is
    m_1 = (out(all) - out(2) + out(1)) / 2, the paper's.

    Args:
        count: number of modalities, M.

    Returns:
        Double precision, shape (M, 2^M - 1), columns in the order of `nonempty_subsets`.

    >>> response_weights(2).float()
    tensor([[ 0.5000, -0.5000,  0.5000],
            [-0.5000,  0.5000,  0.5000]])
    """
    rows = []
    for members in nonempty_subsets(count).tolist():
        size = sum(members)
        inside = 1 / (size * math.comb(count, size))
        outside = 0.0 if size == count else 1 / ((count - size) * math.comb(count, size))
        rows.append([inside if member else -outside for member in members])
    return torch.tensor(rows, dtype=torch.float64).T


def strength(losses: Tensor) -> Tensor:
    """How much better than the average each modality is: exp((mean - loss) M / (M - 1)).

    Args:
        losses: mean loss of each modality's response, shape (M,), M > 1.

    >>> strength(torch.tensor([0.8, 1.6]))
    tensor([2.2255, 0.4493])
    """
    count = len(losses)
    return torch.exp((losses.mean() - losses) * count / (count - 1))


def modulation(losses: Tensor, reference: Tensor, alpha: float, cap: float) -> Tensor:
    """Coefficients kappa = exp(alpha min(tau - r, cap)): larger for a modality below its usual.

    Args:
        losses: mean loss of each modality's response in this batch, shape (M,).
        reference: running mean of these losses, before this batch, shape (M,).
        alpha: degree of modulation.
        cap: largest difference that counts.

    >>> modulation(torch.tensor([0.8, 1.6]), torch.zeros(2), alpha=1.0, cap=7.0)
    tensor([0.2936, 1.7344])
    """
    kappa = torch.exp(alpha * (strength(reference) - strength(losses)).clamp(max=cap))
    # A loss that is not finite says nothing: no modulation.
    return torch.where(kappa.isfinite().all(), kappa, torch.ones_like(kappa))


def surrogate(kappa: Tensor, responses: Tensor, gradient: Tensor) -> Tensor:
    """A scalar whose gradient is sum_i kappa_i J_i^T dL/dout, with J_i that of a response.

    Args:
        kappa: shape (M,).
        responses: m_i of each modality with their graphs, shape (M, B, ...).
        gradient: of the loss in the output, a constant, shape (B, ...).

    >>> surrogate(torch.ones(2), torch.tensor([[1.0], [2.0]]), torch.tensor([3.0]))
    tensor(9.)
    """
    return (kappa.to(responses) * (responses * gradient).flatten(1).sum(1)).sum()


class AGM(Method):
    """Scale what each modality adds to the output, against its own running strength.

    The output is split into one response per modality (Shapley values over what the fusion makes
    of every subset of modalities). The loss of each response tells how strong the modality is in
    this batch, relative to the others; the gradient that flows through the response is scaled by
    kappa = exp(alpha (tau - r)), with r that strength and tau the one usual so far. All parameters
    feel it, those of fusion and head too.

    Paper and released code: inputs are padded with zeros there; here features are masked, so each
    encoder runs once and 2^M - 2 further passes of the fusion alone are needed (two for two
    modalities, 14 for four: the cost, in time and memory). As released, these run in eval mode, so
    that they leave running statistics alone, and kappa is capped; the scripts disagree on the cap
    (7, 10, none), 7 is ours. The reference starts at zero losses and the loss of a sample is capped
    at -log(1e-8), as released. The reference is the mean over the batches with modulation, there
    over all batches: the same unless ``first_epoch`` is later than 1.

    Kappa goes up to exp(7 alpha), 1097 by default: released code bounds what follows from it by a
    clip. Where an entry of the gradient in the last layer's weight is larger than ``clip``, the
    gradient of the whole network is shortened to a norm of ``clip``; otherwise it stays as it is,
    however long. Here that is done in the epochs with modulation.

    Extensions of ours: more than three modalities (exact Shapley values); regression, where the
    loss of a response is |m_i - y| over a running mean of the output's own error, since exp() is
    not free of scale; segmentation, by the mean cross-entropy over pixels. With gradient
    accumulation each micro-batch has its own kappa.

    Args:
        alpha: degree of modulation, 0 or larger; 0 is joint training, but for the clip.
        cap: largest tau - r that counts.
        clip: see above; 1 in the released scripts for AV-MNIST, CREMA-D and MOSEI, 5 for UR-Funny;
            None for no clip, where the trainer has one of its own.
        first_epoch: the first with modulation, from 1.
        last_epoch: the last; to the end when not given. Released scripts: 20.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = (
        "Li et al.: Boosting Multi-modal Model Performance with Adaptive Gradient Modulation. "
        "ICCV 2023"
    )
    changes = "gradients by what each modality adds to the output"
    modalities = (2, None)
    published_modalities = 3

    def __init__(
        self,
        alpha: float = 1.0,
        cap: float = 7.0,
        *,
        clip: float | None = 1.0,
        first_epoch: int = 1,
        last_epoch: int | None = None,
    ) -> None:
        check_number("alpha", alpha)
        check_number("cap", cap)
        if clip is not None:
            check_number("clip", clip, above=0)
        check_epochs(first_epoch, last_epoch)
        self.alpha, self.cap, self.clip = alpha, cap, clip
        self.needs_head = clip is not None
        self.first_epoch, self.last_epoch = first_epoch, last_epoch
        self.needs_epochs = first_epoch > 1 or last_epoch is not None
        self._reference = torch.zeros(0)  # running mean of the responses' losses
        self._batches = 0
        self._error = ErrorScale()
        self._kappa = torch.zeros(0)
        self._losses = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        check_fusion(run, "AGM")

    def _modulates(self, run: Run) -> bool:
        return self.first_epoch <= run.epoch <= (self.last_epoch or run.epoch)

    def loss(self, step: Step) -> Tensor:
        """The task loss, with the gradient of each response scaled by its kappa."""
        count = len(step.modalities)
        if not self._modulates(step.run):
            self._kappa, self._losses = torch.ones(count), torch.zeros(count)
            return step.task_loss
        responses = self._responses(step)
        losses = self._response_losses(step, responses.detach())
        reference = self._reference if self._batches else torch.zeros(count)
        self._kappa = modulation(losses, reference, self.alpha, self.cap)
        if bool(losses.isfinite().all()):
            # The mean of all batches so far, as released.
            self._reference = reference + (losses - reference) / (self._batches + 1)
            self._batches += 1
        self._losses = losses
        (gradient,) = torch.autograd.grad(
            step.task_loss * step.loss_scale, step.prediction, retain_graph=True
        )
        gradient = precise(gradient.detach()) / step.loss_scale
        balanced = surrogate(self._kappa, responses, gradient)
        # The value is that of the loss, for logs; only the gradient is another.
        return step.task_loss.detach() + (balanced - balanced.detach()).to(step.task_loss)

    def gradients(self, step: Step) -> None:
        """Clip the network's gradient as the released code does."""
        if self.clip is not None and self._modulates(step.run):
            weight = last_weight(step.last_layer)
            limit = self.clip * step.gradient_scale
            if weight.grad is not None and bool(limit < weight.grad.abs().max() < math.inf):
                nn.utils.clip_grad_norm_(step.run.network.parameters(), limit)

    def _responses(self, step: Step) -> Tensor:
        """m_i of every modality, shape (M, B, ...), in 32 bits or more, with graphs."""
        outputs = [
            fused(step, step.seen, dict(zip(step.modalities, members, strict=True)))
            for members in nonempty_subsets(len(step.modalities)).tolist()
            if not all(members)
        ]
        outputs.append(precise(step.prediction))
        weights = response_weights(len(step.modalities)).to(outputs[0])
        return torch.einsum("ms,s...->m...", weights, torch.stack(outputs))

    def _response_losses(self, step: Step, responses: Tensor) -> Tensor:
        """Mean loss of each response over all ranks, shape (M,), on the CPU."""
        scale = self._error.update(step.task, [step.prediction.detach().float()], step.label)
        sums = [
            (step.task.sample_losses(m, step.label) / scale).clamp(max=WORST).sum()
            for m in responses
        ]
        count = torch.as_tensor(float(len(step.label))).to(sums[0])
        total = summed_over_ranks(torch.stack([*sums, count]).as_subclass(Tensor).detach())
        return (total[:-1] / total[-1]).cpu()

    def record(self) -> dict[str, Tensor]:
        """Kappa and the loss of each response, of the last micro-batch."""
        return {"balance": self._kappa, "response_loss": self._losses}

    def state_dict(self) -> dict[str, Any]:
        return {
            "reference": self._reference,
            "batches": self._batches,
            "error": self._error.value,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._reference, self._batches = state["reference"], int(state["batches"])
        self._error.value = state["error"]
