"""On-the-fly prediction modulation (Wei et al., TPAMI 2024), alone or with that of gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..balancing.features import batch_size, check_kept, masked, scaled
from ..balancing.gradients import gradients_of
from ..balancing.method import Method, Run, Step
from ..balancing.modality_dropout import ModalityDropout
from ..balancing.randomness import seeded
from ..balancing.settings import check_epochs, check_number, check_switch, check_whole
from .discrepancy import TruthScores, coefficients, discrepancy_ratios


def drop_probabilities(ratios: Tensor, q_base: float, lam: float) -> Tensor:
    """q = q_base (1 + lam tanh(rho - 1)) where rho > 1, else 0; at most 1.

    Args:
        ratios: rho of each modality, shape (M,), see :func:`discrepancy_ratios`.
        q_base: least probability of a modality that leads.
        lam: how much its lead adds.

    >>> drop_probabilities(torch.tensor([2.0, 0.5]), q_base=0.5, lam=0.5)
    tensor([0.6904, 0.0000])
    """
    probabilities = q_base * (1 + lam * torch.tanh((ratios - 1).relu()))
    return torch.where(ratios > 1, probabilities, torch.zeros_like(ratios)).clamp(max=1)


def compensation(probabilities: Tensor) -> float:
    """What all features are multiplied by in a pass that drops: 1 / (1 - mean q).

    >>> compensation(torch.tensor([0.5, 0.0]))
    1.3333333333333333
    """
    return 1 / (1 - probabilities.mean().item())


class OPM(Method):
    """Drop the features of the modality that does best, with a probability by how far it leads.

    The score of a modality is the mean of its classifier's probabilities of the truth; rho is its
    ratio to that of the other. In a share p_exe of the forward passes each sample loses a modality
    of rho > 1 with probability q = q_base (1 + lam tanh(rho - 1)), and what is left of all
    features is divided by 1 - mean q. ``ogm`` damps the encoders' gradients besides, by
    1 - tanh(alpha rho), without noise: the authors' OPM+OGM.

    We know the released code and the abstract. Released code takes the scores from a linear head
    split by modality, and from the batch at hand; here they are those of the classifiers, which
    fit any fusion, in the optimizer step before, since a feature is dropped before the others are
    known. The first step drops nothing. A sample that would lose all it has keeps it here, where
    released code takes it out of the batch. Its mean of q is weighted by the widths of the
    features, which are equal there.

    Extensions of ours: more than two modalities (rho against the mean of the others, so that the
    last one is never dropped); regression, by exp(-|error| / s) with s a running mean of the
    classifiers' pooled error; segmentation, by the probability of the true class averaged by class.
    :class:`cggm.ModalityDropout` draws from what OPM leaves of a sample.

    Args:
        q_base: least probability that the leading modality is dropped, in [0, 1].
        lam: how much its lead adds to that, 0 or larger.
        p_exe: share of the forward passes in which anything is dropped, in [0, 1].
        ogm: whether the encoders' gradients are damped too.
        alpha: degree of that.
        first_epoch: the first epoch with either, from 1; released 7 of 100.
        last_epoch: the last; to the end when not given.
        seed: of the draws, which are apart from all others.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "Wei et al.: On-the-fly Modulation for Balanced Multimodal Learning. TPAMI 2024"
    changes = "features of the leading modality are left out, at random"
    modalities = (2, None)
    published_modalities = 2
    needs_classifiers = True

    def __init__(
        self,
        q_base: float = 0.5,
        lam: float = 0.5,
        p_exe: float = 0.7,
        *,
        ogm: bool = False,
        alpha: float = 0.8,
        first_epoch: int = 7,
        last_epoch: int | None = None,
        seed: int = 0,
    ) -> None:
        check_number("q_base", q_base, 1)
        check_number("lam", lam)
        check_number("p_exe", p_exe, 1)
        check_switch("ogm", ogm)
        check_number("alpha", alpha)
        check_epochs(first_epoch, last_epoch)
        check_whole("seed", seed)
        self.q_base, self.lam, self.p_exe, self.seed = q_base, lam, p_exe, seed
        self.ogm, self.alpha = ogm, alpha
        self.first_epoch, self.last_epoch = first_epoch, last_epoch
        self.needs_epochs = first_epoch > 1 or last_epoch is not None
        self._scores = TruthScores()
        self._ratios = torch.zeros(0)  # rho of the step before
        self._coefficients = torch.zeros(0)
        self._dropout = ModalityDropout(0.0, seed=seed)
        self._kept: Tensor | None = None  # of the forward pass at hand
        self._seen: set[str] = set()
        self._scale = 1.0
        self._shares = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        self._scores.restart()
        self._kept = None
        if len(self._ratios) != len(run.modalities):
            self._ratios = torch.ones(len(run.modalities))

    def feature(self, modality: str, feature: Any, run: Run) -> Any:
        """Leave a modality out for the samples that drop it."""
        if not self._is_on(run):
            return feature
        if self._kept is None or modality in self._seen:
            self._draw(batch_size(feature), run)
        kept = check_kept(self._kept, feature, modality, "OPM")
        self._seen.add(modality)
        run.left = kept
        if self._scale == 1:
            return feature
        return scaled(masked(feature, kept[:, run.modalities.index(modality)]), self._scale)

    def _draw(self, samples: int, run: Run) -> None:
        # Of its own, and the same on all ranks.
        chance = seeded(self.seed, run.epoch, self._dropout.passes, 1)
        rates = drop_probabilities(self._ratios, self.q_base, self.lam)
        if torch.rand(1, generator=chance).item() >= self.p_exe:
            rates = torch.zeros_like(rates)
        self._scale, self._seen = compensation(rates), set()
        self._dropout.missing = dict(zip(run.modalities, rates.tolist(), strict=True))
        self._kept = self._dropout.draw(
            samples, run.modalities, epoch=run.epoch, available=run.available
        )

    def loss(self, step: Step) -> Tensor:
        """The task loss of what was kept; the probabilities of the truth are added up."""
        kept, self._kept = self._kept, None
        count = len(step.modalities)
        self._shares = torch.ones(count) if kept is None else kept.float().mean(0)
        self._scores.add(step)
        return step.task_loss

    def _is_on(self, run: Run) -> bool:
        return self.first_epoch <= run.epoch <= (self.last_epoch or run.epoch)

    def gradients(self, step: Step) -> None:
        """Take the ratios for the next step; with ``ogm``, damp the encoders' gradients."""
        self._ratios = discrepancy_ratios(self._scores.take())
        self._coefficients = torch.ones(len(step.modalities))
        if not (self.ogm and self._is_on(step.run)):
            return
        self._coefficients = coefficients(self._ratios, self.alpha)
        factors = self._coefficients.tolist()
        for encoder, factor in zip(step.encoders.values(), factors, strict=True):
            for gradient in gradients_of(encoder):
                gradient.mul_(factor)

    def record(self) -> dict[str, Tensor]:
        """Share of the samples that kept a modality, in the last micro-batch, and coefficients."""
        damping = {"balance": self._coefficients} if self.ogm else {}
        return {"kept": self._shares} | damping

    def state_dict(self) -> dict[str, Any]:
        return {
            "passes": self._dropout.passes,
            "ratios": self._ratios,
            "error": self._scores.error.value,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._dropout.passes, self._ratios = int(state["passes"]), state["ratios"]
        self._scores.error.value = state["error"]
