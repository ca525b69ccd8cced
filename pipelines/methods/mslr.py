"""Modality-specific learning rates (Yao & Mihalcea, Findings of ACL 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..balancing.method import Method, Run, Step
from ..balancing.optimization import StepFactors, encoder_groups
from ..balancing.settings import check_choice, check_number, check_whole

Strategy = Literal["keep", "dynamic"]


def positive(scores: Tensor) -> Tensor:
    """Bring scores that can be negative, such as minus an error, to (0, 1] by 1 / (1 - score).

    Scores of which none is negative (accuracy, probability, Dice) stay as they are: ratios of them
    mean what they say. The choice is made for all scores together.

    Args:
        scores: larger is better, any shape.

    >>> positive(torch.tensor([-1.0, 0.0]))
    tensor([0.5000, 1.0000])
    >>> positive(torch.tensor([0.25, 0.5]))
    tensor([0.2500, 0.5000])
    """
    if not bool((scores < 0).any()):
        return scores
    # A score above 0 among negative ones goes on as it starts, so that the order is kept.
    return torch.where(scores <= 0, 1 / (1 - scores.clamp(max=0)), 1 + scores)


def dynamic_ratios(scores: Tensor, earlier: Tensor) -> Tensor:
    """Scores of an epoch over the means of those before it.

    Args:
        scores: none negative, shape (M,).
        earlier: of the epochs before, shape (E, M).

    Returns:
        One ratio per modality, shape (M,); 1 where the scores tell nothing.

    >>> dynamic_ratios(torch.tensor([0.6]), torch.tensor([[0.4], [0.5], [0.6]]))
    tensor([1.2000])
    """
    means = earlier.mean(0)
    ratios = scores / means
    return torch.where((means > 0) & ratios.isfinite(), ratios, torch.ones_like(ratios))


class MSLR(Method):
    """Give each encoder a learning rate of its own, fixed or following its modality's score.

    A factor of 2 means a step twice as long, under any optimizer: it goes into the learning rate
    for the time of the step, schedules and AdamW's weight decay stay as they are. Fusion, head and
    classifiers keep the learning rate.

    There is no released code. The strategies are written from the paper's abstract and from what
    the authors of AGM compare with: rates of each modality's own that stay as they are ("keep"),
    or follow its score ("dynamic"). There the factor after an epoch is the given one times (its
    score) / (mean of the ``window`` epochs before it); the first such epoch is number ``window`` +
    1, the next one feels it, and nothing accumulates. That code scales gradients instead of rates,
    which Adam undoes, takes scores from the test split, and has factors for each data set. It also
    scales the linear heads of single modalities whose sum is its prediction; here fusion and head
    belong to all. Here a score is the mean over an epoch of the classifiers' training scores, the
    task's own; those that can be negative (minus an error) become 1 / (1 - score).

    Extensions of ours: regression and segmentation, scores of training data, and fusions inside
    the network that start anew; the paper's networks are late fusions of unimodal ones.

    Args:
        strategy: "keep" or "dynamic".
        factors: of the learning rate by modality; 1 for those not named, and for all when not
            given. AGM's code: audio 1.3, image 0.7 (AV-MNIST); audio 0.9, image 1.1 (CREMA-D);
            audio 0.9, image 1.4, text 0.7 (UR-Funny).
        window: epochs of the mean; 5 in AGM's code.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Yao, Mihalcea: Modality-specific Learning Rates. Findings of ACL 2022"
    changes = "learning rates of the encoders"
    needs_classifiers = True
    needs_epochs = True

    def __init__(
        self,
        strategy: Strategy = "dynamic",
        factors: Mapping[str, float] | None = None,
        *,
        window: int = 5,
    ) -> None:
        check_choice("strategy", strategy, get_args(Strategy))
        check_whole("window", window, 2)
        if factors is not None and not isinstance(factors, Mapping):
            raise ValueError(f"factors is {factors!r}; it is a mapping from modality to number")
        for name, factor in (factors or {}).items():
            check_number(f"factors[{name!r}]", factor, above=0)
        self.strategy, self.window = strategy, window
        self.factors = None if factors is None else dict(factors)
        self._history = torch.zeros(0, 0)  # mean scores of the last epochs, (window + 1, M)
        self._sums = torch.zeros(0)  # of the scores of the epoch at hand
        self._steps, self._epoch = torch.zeros(0), 0  # steps that scored each modality
        self._balance = torch.zeros(0)
        self._factors = StepFactors()

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        unknown = [name for name in self.factors or {} if name not in run.modalities]
        if unknown:
            raise ValueError(
                f"factors names {unknown[0]!r}; the network has modalities {run.modalities}"
            )
        encoder_groups(run.optimizer, run.encoders)  # refuses groups that mix encoders
        self._balance = self._given(run.modalities)

    def epoch_begins(self, run: Run) -> None:
        """Close the last epoch; here, so that it does not matter when checkpoints are written."""
        if len(self._steps) and run.epoch != self._epoch:
            mean = (self._sums / self._steps.clamp(min=1))[None]
            earlier = self._history if len(self._history) else mean[:0]
            self._history = torch.cat([earlier, mean])[-self.window - 1 :]
            self._sums, self._steps = torch.zeros(0), torch.zeros(0)
        self._epoch = run.epoch
        self._balance = self._given(run.modalities)
        if self.strategy == "dynamic" and len(self._history) > self.window:
            *earlier, last = positive(self._history)
            self._balance = self._balance * dynamic_ratios(last, torch.stack(earlier))

    def _given(self, modalities: list[str]) -> Tensor:
        return torch.tensor([float((self.factors or {}).get(name, 1.0)) for name in modalities])

    def gradients(self, step: Step) -> None:
        """Scale the learning rates of the coming update."""
        scores = step.scores.detach().float().cpu()  # over all micro-batches and ranks already
        known = scores.isfinite()
        new, one = torch.where(known, scores, 0.0), known.float()
        self._sums = self._sums + new if len(self._steps) else new
        self._steps = self._steps + one if len(self._steps) else one
        self._factors.apply(step.optimizer, step.encoders, self._balance.tolist())

    def stepped(self, step: Step) -> None:
        """Give the parameter groups their own learning rates back."""
        self._factors.undo()

    def record(self) -> dict[str, Tensor]:
        """Factor of each encoder's learning rate."""
        return {"balance": self._balance}

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self._history,
            "sums": self._sums,
            "steps": self._steps,
            "epoch": self._epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._history, self._sums = state["history"], state["sums"]
        self._steps, self._epoch = state["steps"], int(state["epoch"])
        if not isinstance(self._steps, Tensor):  # of an earlier version
            self._steps = torch.full_like(self._sums, float(self._steps))
