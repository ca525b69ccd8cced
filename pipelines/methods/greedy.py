"""Balancing by conditional learning speeds (Wu et al., ICML 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..balancing.distributed import summed_over_ranks
from ..balancing.features import is_sequence, real_steps
from ..balancing.method import Method, Run, Step
from ..balancing.settings import check_number, check_whole

# Share of the newest step in the running mean of the features, as in batch normalization.
NEWEST = 0.1


def learning_speed(gradient_square: Tensor, parameter_square: Tensor) -> Tensor:
    """mu of Wu et al., section 4: squared norm of the gradient by that of the parameters.

    >>> learning_speed(torch.tensor(0.05), torch.tensor(5.0))
    tensor(0.0100)
    """
    return gradient_square / parameter_square.clamp(min=1e-12)


def conditional_speeds(across: Tensor, own: Tensor) -> Tensor:
    """s of Wu et al., section 4: how fast the rest learns by how fast a branch does, as a log.

    Args:
        across: sum over the steps of mu of what carries the other modalities to this one, (M,).
        own: sum over the steps of mu of the branches, above 0, shape (M,).

    Returns:
        One per modality, shape (M,); the largest belongs to the slowest branch.
    """
    return torch.log(across.clamp(min=1e-30) / own)


def speed_differences(across: Tensor, own: Tensor) -> Tensor:
    """d: each conditional learning speed minus the mean of the others', shape (M,).

    With two modalities these are s_0 - s_1 and its negative, as in the paper. A branch that has not
    moved at all, such as a frozen one, cannot be helped: it gets 0 and counts for no other.

    >>> speed_differences(torch.ones(2), torch.tensor([1.0, 4.0]))
    tensor([ 1.3863, -1.3863])
    """
    moves = own > 0
    count = int(moves.sum())
    if count < 2:
        return torch.zeros_like(own)
    speeds = conditional_speeds(across, own.clamp(min=1e-30)) * moves
    others = (speeds.sum() - speeds) / (count - 1)
    return torch.where(moves, speeds - others, torch.zeros_like(own))


class Greedy(Method):
    """Let a slow encoder carry the joint loss for some steps, behind running means of the others.

    Each modality has a branch, its encoder and its classifier, with a loss of its own, and the
    training has the sum of all losses: L + sum L_i, whose gradients all reach the encoders.
    Conditional learning speeds tell which branch lags (Wu et al., section 4). When it lags by more
    than ``alpha``, the next ``window`` steps are re-balancing steps: the fusion sees the features
    of this encoder, and of the others their running mean, a constant, so that L can fall by this
    encoder only. Every branch goes on learning from its own loss. Then a normal step follows, and
    the speeds are looked at again; their sums stand still meanwhile, as in the released code.

    Paper and released code are about two convolutional branches joined by MMTM gates. Only the gate
    of the lagging branch is replaced, and the prediction is the mean of the branches'. A network
    here has a fusion instead of gates, which predicts. Extensions of ours:

    - What carries the other modalities to a branch is the fusion with the head, the same for all; d
      is then the log ratio of the branches' own speeds. The fusion's loss L joins those of the
      branches.
    - Features are replaced instead of gates: each channel by its running mean, an exponential one
      because features move more than gates do (the released code averages over all steps). How
      long a sequence is stays visible.
    - More than two modalities: each s is compared with the mean of the others.
    - Nothing depends on the loss, so regression and segmentation are trained alike.

    The released code takes log10 where the paper writes log (we do): its threshold of 0.01 is
    0.023 here. It also updates one of its running means with the gate of the other modality.

    Args:
        alpha: how far a branch may lag, in units of d; 0.01 in the released code.
        window: Q, how many re-balancing steps follow each other; 5 in the released code.
        unlock: first epoch with re-balancing steps; 2 in the released code.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Wu et al.: Characterizing and Overcoming the Greedy Nature of Learning. ICML 2022"
    changes = "loss, classifiers' included; what the fusion sees, in re-balancing steps"
    modalities = (2, None)
    needs_epochs = True
    needs_classifiers = True
    attached = True
    published_modalities = 2

    def __init__(self, alpha: float = 0.01, window: int = 5, unlock: int = 2) -> None:
        check_number("alpha", alpha)
        check_whole("window", window, 1)
        check_whole("unlock", unlock, 1)
        self.alpha, self.window, self.unlock = alpha, window, unlock
        self._own: Tensor | None = None  # sums of mu over the normal steps, (M,)
        self._across: Tensor | None = None
        self._means: dict[str, list[Tensor]] = {}  # running means of the features
        self._sums: dict[str, list[Tensor]] = {}  # of the step at hand: sum by channel, count
        self._favored = ""
        self._remaining = 0  # re-balancing steps still to come
        self._differences = torch.zeros(0)
        self._seen = torch.zeros(0)

    def feature(self, modality: str, feature: Any, run: Run) -> Any:
        """Remember the means; replace what must not help in a re-balancing step."""
        sums = channel_sums(feature)
        so_far = self._sums.get(modality, [torch.zeros_like(total) for total in sums])
        self._sums[modality] = [a + b for a, b in zip(so_far, sums, strict=True)]
        if not self._remaining or modality == self._favored or modality not in self._means:
            return feature
        return filled(feature, self._means[modality])

    def loss(self, step: Step) -> Tensor:
        """L + sum L_i, each L_i with its gradient in the encoder."""
        return step.task_loss + torch.stack(list(step.classifier_losses.values())).sum()

    def gradients(self, step: Step) -> None:
        """Measure the learning speeds and decide what the next steps are for."""
        self._average(step)
        if self._remaining:
            self._remaining -= 1
            self._seen = torch.tensor([float(n == self._favored) for n in step.modalities])
            return
        self._seen = torch.ones(len(step.modalities))
        own = torch.stack([branch_speed(name, step) for name in step.modalities])
        across = speed_of(shared_parameters(step.run), step).expand_as(own)
        if not bool(torch.cat([own, across]).isfinite().all()):
            return  # an overflow of mixed precision, whose step will be skipped
        self._own = own if self._own is None else self._own.to(own) + own
        self._across = across if self._across is None else self._across.to(own) + across
        self._differences = speed_differences(self._across, self._own)
        slowest = int(self._differences.argmax())
        if step.run.epoch >= self.unlock and float(self._differences[slowest]) > self.alpha:
            self._favored, self._remaining = step.modalities[slowest], self.window

    def _average(self, step: Step) -> None:
        for name in step.modalities:
            sums = [summed_over_ranks(total) for total in self._sums.get(name, [])]
            means = [total[:-1] / total[-1].clamp(min=1) for total in sums]
            old = self._means.get(name, means)
            pairs = zip(old, means, strict=True)
            self._means[name] = [torch.lerp(o.to(new), new, NEWEST) for o, new in pairs]
        self._sums = {}

    def record(self) -> dict[str, Tensor]:
        """Lag of each branch (d), and 1 for those that the fusion saw in this step."""
        lag = self._differences if len(self._differences) else torch.zeros_like(self._seen)
        return {"balance": self._seen, "speed_difference": lag}

    def state_dict(self) -> dict[str, Any]:
        return {
            "own": self._own,
            "across": self._across,
            "means": dict(self._means),
            "favored": self._favored,
            "remaining": self._remaining,
            "differences": self._differences,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._own, self._across = state["own"], state["across"]
        self._means = {name: list(means) for name, means in state["means"].items()}
        self._favored, self._remaining = state["favored"], state["remaining"]
        self._differences = state["differences"]


def branch_speed(modality: str, step: Step) -> Tensor:
    """mu of a branch, encoder and classifier; 0 where the encoder does not learn. A scalar."""
    encoder = list(step.encoders[modality].parameters())
    if all(p.grad is None for p in encoder):
        return speed_of([], step)
    return speed_of([*encoder, *step.classifiers[modality].parameters()], step)


def shared_parameters(run: Run) -> list[nn.Parameter]:
    """The parameters of no encoder: fusion and head."""
    taken = {id(p) for encoder in run.encoders.values() for p in encoder.parameters()}
    return [p for p in run.network.parameters() if id(p) not in taken]


def speed_of(parameters: Iterable[nn.Parameter], step: Step) -> Tensor:
    """mu of all parameters that got a gradient, as one vector; 0 where none did. A scalar."""
    trained = [p for p in parameters if p.grad is not None]
    if not trained:
        return torch.zeros((), dtype=torch.float64, device=step.task_loss.device)
    gradients = torch._foreach_norm([p.grad for p in trained if p.grad is not None])
    sizes = torch._foreach_norm([p.detach() for p in trained])
    gradient, size = (torch.stack(norms).double().square().sum() for norms in (gradients, sizes))
    return learning_speed(gradient / step.gradient_scale**2, size)


def channel_sums(feature: Any) -> list[Tensor]:
    """Sum by channel over samples and positions, and behind it their number: (C + 1,) each.

    Sequences count their real steps only.
    """
    if is_sequence(feature):
        values, real = feature[0].detach().float(), real_steps(feature)
        return [torch.cat([torch.where(real, values, 0.0).sum((0, 1)), real.sum()[None]])]
    sums = []
    for part in parts_of(feature):
        values = part.detach().float().transpose(0, 1).flatten(1)  # (C, B * positions)
        sums.append(torch.cat([values.sum(1), values.new_tensor([values.shape[1]])]))
    return sums


def filled(feature: Any, means: Sequence[Tensor]) -> Any:
    """The same feature with a constant in each channel, see :func:`channel_sums`.

    No gradient flows into the feature, but it stays part of the graph: distributed training waits
    for a gradient, zero, of every parameter.
    """
    if is_sequence(feature):
        values, lengths = feature
        mean = torch.where(real_steps(feature), means[0].to(values), 0.0)
        return constant_in_graph(mean, values), lengths
    results = []
    for part, mean in zip(parts_of(feature), means, strict=True):
        constant = mean.to(part).view(1, -1, *[1] * (part.ndim - 2)).expand_as(part)
        results.append(constant_in_graph(constant, part))
    return results[0] if isinstance(feature, Tensor) else tuple(results)


def constant_in_graph(constant: Tensor, tensor: Tensor) -> Tensor:
    """A constant that is part of the graph of a tensor, to which it passes a gradient of zero."""
    # Not `constant + 0 * tensor`: what is replaced may be infinite.
    return torch.where(torch.zeros_like(tensor, dtype=torch.bool), tensor, constant)


def parts_of(feature: Any) -> list[Tensor]:
    """The tensors (B, C, ...) of a feature, one or more."""
    return [feature] if isinstance(feature, Tensor) else list(feature)
