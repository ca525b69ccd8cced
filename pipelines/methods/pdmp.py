"""Performance-dominant modality prioritization (Wei, Luo, Zhu, Luo, arXiv 2026)."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..balancing.batches import training_data
from ..balancing.distributed import broadcast
from ..balancing.gradients import gradients_of
from ..balancing.method import Method, Run, Step
from ..balancing.optimization import StepFactors, encoder_groups
from ..balancing.randomness import undisturbed
from ..balancing.settings import check_choice, check_number, check_whole
from ..balancing.trials import Trial, parted

Apply = Literal["gradient", "step"]


def asymmetric_coefficients(scores: Tensor, gamma_p: float, gamma_r: float) -> Tensor:
    """gamma_p for the modality that is best alone, gamma_r for the rest; 1 for all where two are.

    Args:
        scores: of each modality alone, larger is better, shape (M,).
        gamma_p: of the performance-dominant modality.
        gamma_r: of the others.

    >>> asymmetric_coefficients(torch.tensor([0.4, 0.7, 0.1]), 1.5, 0.5)
    tensor([0.5000, 1.5000, 0.5000])
    >>> asymmetric_coefficients(torch.tensor([0.7, 0.7, 0.1]), 1.5, 0.5)
    tensor([1., 1., 1.])
    """
    best = scores == scores.max()
    factors = torch.where(best, gamma_p, gamma_r)
    return factors if int(best.sum()) == 1 else torch.ones_like(factors)


class PDMP(Method):
    """Scale up the gradients of the encoder whose modality is best alone, the others' down.

    The opposite of balancing: the factors are constants, gamma_p for the modality that is best
    alone and gamma_r for the others, gamma_p > gamma_r. Who that is, ``dominant`` tells; without
    it a trial does, before training: copies of the encoders are trained with their classifiers,
    each alone, for ``trial_epochs`` epochs on most of the training data, and the rest ranks them
    by the task's score. Where two are equal nobody leads. Nothing of the trial stays.

    We know the abstract and what others write of the paper: independently trained single
    modalities are ranked, then asymmetric coefficients, gamma_p above 1 and gamma_r below 1 and
    chosen by data set, modulate the gradients of each modality. Equations, the values of the two,
    the epochs in which they hold, and how the single modalities are trained we have not seen; no
    code is released. The defaults here are ours.

    Under Adam and AdamW a constant factor on a gradient does next to nothing; ``apply="step"``, an
    extension of ours, scales the update instead, through the learning rate of the encoder. Further
    extensions: regression and segmentation, by the same rule.

    Args:
        dominant: the modality that is best alone, by name; a trial finds it when not given.
        gamma_p: factor of its encoder, 1 or larger.
        gamma_r: factor of the others, in [0, 1].
        apply: "gradient" or "step": what is scaled.
        trial_epochs: length of the trial.
        held_out: share of the training data that ranks, in (0, 0.5].
        seed: of the split and of the trial.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = (
        "Wei, Luo, Zhu, Luo: PDMP: Rethinking Balanced Multimodal Learning via "
        "Performance-Dominant Modality Prioritization. arXiv 2604.05773, 2026"
    )
    changes = "encoders' gradients, by constants that favor who is best alone"
    modalities = (2, None)

    def __init__(
        self,
        dominant: str | None = None,
        gamma_p: float = 1.5,
        gamma_r: float = 0.5,
        *,
        apply: Apply = "gradient",
        trial_epochs: int = 5,
        held_out: float = 0.2,
        seed: int = 0,
    ) -> None:
        if dominant is not None and not isinstance(dominant, str):
            raise ValueError(f"dominant is {dominant!r}; it is the name of a modality")
        check_number("gamma_p", gamma_p)
        if gamma_p < 1:
            raise ValueError(f"gamma_p is {gamma_p!r}; it is a number, 1 or larger")
        check_number("gamma_r", gamma_r, 1)
        check_choice("apply", apply, get_args(Apply))
        check_whole("trial_epochs", trial_epochs, 1)
        check_number("held_out", held_out, 0.5, above=0)
        check_whole("seed", seed, 0)
        self.dominant, self.gamma_p, self.gamma_r = dominant, gamma_p, gamma_r
        self.apply: Apply = apply
        self.trial_epochs, self.held_out, self.seed = trial_epochs, held_out, seed
        self.needs_classifiers = self.needs_batches = dominant is None
        self._scores = torch.zeros(0)  # of each modality alone
        self._balance = torch.zeros(0)
        self._factors = StepFactors()

    def prepare(self, run: Run) -> None:
        """Find the modality that is named, or refuse data of which nothing can be held out."""
        super().prepare(run)
        if self.apply == "step":
            encoder_groups(run.optimizer, run.encoders)  # refuses groups that mix encoders
        if self.dominant is not None:
            self._scores = torch.tensor([float(n == self.dominant) for n in run.modalities])
            if not bool(self._scores.any()):
                near = get_close_matches(self.dominant, run.modalities, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"dominant is {self.dominant!r}; the network has {run.modalities}{hint}"
                )
        elif len(training_data(run)) < 2:
            raise ValueError(
                "PDMP holds out training data to rank the modalities; there is 1 sample or batch "
                "only: name the modality that is best alone, dominant="
            )

    def epoch_begins(self, run: Run) -> None:
        """Rank the modalities, once."""
        if len(self._scores) == 0:
            self._scores = self._rank(run)

    def _rank(self, run: Run) -> Tensor:
        learn, judge = parted(run, self.held_out, self.seed)
        with undisturbed(run, self.seed):
            trial = Trial(run)
            trial.train(learn, self.trial_epochs, self.seed, joint=False)
            scores = trial.scores(judge).float().to(run.device)
        broadcast(scores)
        return scores.cpu()

    def gradients(self, step: Step) -> None:
        """Scale the encoders' gradients, or the coming update."""
        self._balance = asymmetric_coefficients(self._scores, self.gamma_p, self.gamma_r)
        factors = self._balance.tolist()
        if self.apply == "step":
            self._factors.apply(step.optimizer, step.encoders, factors)
            return
        for encoder, factor in zip(step.encoders.values(), factors, strict=True):
            for gradient in gradients_of(encoder):
                gradient.mul_(factor)

    def stepped(self, step: Step) -> None:
        """Give the parameter groups their own learning rates back."""
        self._factors.undo()

    def record(self) -> dict[str, Tensor]:
        """Factor of each encoder, and what its modality scored alone, in the trial."""
        alone = {} if self.dominant is not None else {"alone": self._scores}
        return {"balance": self._balance} | alone

    def state_dict(self) -> dict[str, Any]:
        return {"scores": self._scores}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scores = state["scores"]
