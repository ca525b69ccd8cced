"""On-the-fly gradient modulation with generalization enhancement (Peng et al., CVPR 2022)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..balancing.gradients import gradients_of
from ..balancing.method import Method, Run, Step
from ..balancing.randomness import seeded
from ..balancing.settings import check_epochs, check_number, check_switch, check_whole
from .discrepancy import TruthScores, coefficients, discrepancy_ratios


def noisy(gradient: Tensor, factor: float, generator: torch.Generator) -> Tensor:
    """Scale a gradient and add noise as large as its elements differed before: GE.

    Args:
        gradient: of one parameter.
        factor: k of its modality.
        generator: of the noise, on the gradient's device.

    >>> noisy(torch.zeros(3), 0.5, torch.Generator())
    tensor([0., 0., 0.])
    """
    scaled = gradient * factor
    if gradient.numel() < 2:
        return scaled  # one number has no deviation
    noise = torch.randn(
        gradient.shape, generator=generator, device=gradient.device, dtype=torch.float32
    )
    return scaled + (noise * gradient.float().std()).to(gradient)


class OGMGE(Method):
    """Damp the gradients of the encoder whose modality does best, and add noise to all encoders'.

    The score of a modality is the sum of its classifier's probabilities of the truth. A modality
    whose score is rho > 1 times that of the other has its encoder's gradients scaled by
    1 - tanh(alpha rho); then Gaussian noise of each gradient's own size is added (GE).

    Paper and released code: the paper's noise has the covariance of SGD's gradients within a
    batch; released is, and we do, the deviation of the elements of one gradient tensor, before it
    is scaled. Released code skips all tensors that are not those of 2-d convolutions, so linear
    layers and transformers feel nothing of it; here all parameters of an encoder count. At equal
    scores released code damps the first modality; the paper and we none. Its 1e-8 beside the
    deviation is left out: gradients of zero stay zero. The scores come from a linear head split
    by modality there, and from the classifiers here, which fit any fusion.

    Extensions of ours: more than two modalities (rho against the mean of the others); regression,
    by exp(-|error| / s) with s a running mean of the classifiers' pooled error; segmentation, by
    the probability of the true class averaged by class. Published with SGD: under Adam a constant
    factor on a gradient does next to nothing, its changes and the noise do.

    Args:
        alpha: degree of modulation, 0 or larger; published are values from 0.1 to 0.8.
        ge: whether the noise is added.
        first_epoch: the first with modulation and noise, from 1.
        last_epoch: the last; to the end when not given. Released: 51 of 100.
        seed: of the noise, which is apart from all other draws.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = (
        "Peng et al.: Balanced Multimodal Learning via On-the-fly Gradient Modulation. CVPR 2022"
    )
    changes = "encoders' gradients, with noise"
    modalities = (2, None)
    published_modalities = 2
    needs_classifiers = True

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        ge: bool = True,
        first_epoch: int = 1,
        last_epoch: int | None = None,
        seed: int = 0,
    ) -> None:
        check_number("alpha", alpha)
        check_switch("ge", ge)
        check_epochs(first_epoch, last_epoch)
        check_whole("seed", seed)
        self.alpha, self.ge, self.seed = alpha, ge, seed
        self.first_epoch, self.last_epoch = first_epoch, last_epoch
        self.needs_epochs = first_epoch > 1 or last_epoch is not None
        self._steps = 0
        self._scores = TruthScores()
        self._coefficients = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        self._scores.restart()

    def loss(self, step: Step) -> Tensor:
        """The task loss; the probabilities of the truth are added up on the way."""
        if self._is_on(step.run):
            self._scores.add(step)
        return step.task_loss

    def _is_on(self, run: Run) -> bool:
        return self.first_epoch <= run.epoch <= (self.last_epoch or run.epoch)

    def gradients(self, step: Step) -> None:
        """Scale the encoders' gradients and add the noise."""
        if not self._is_on(step.run):
            self._coefficients = torch.ones(len(step.modalities))
            return
        self._coefficients = coefficients(discrepancy_ratios(self._scores.take()), self.alpha)
        # The same on all ranks: replicas that step apart would drift apart.
        device = self._coefficients.device
        generator = seeded(self.seed, step.run.epoch, self._steps, device=device)
        factors = self._coefficients.tolist()
        for encoder, factor in zip(step.encoders.values(), factors, strict=True):
            for gradient in gradients_of(encoder):
                changed = noisy(gradient, factor, generator) if self.ge else gradient * factor
                gradient.copy_(changed)
        self._steps += 1

    def record(self) -> dict[str, Tensor]:
        """Coefficient of each modality in the last step."""
        return {"balance": self._coefficients}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "error": self._scores.error.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps, self._scores.error.value = int(state["steps"]), state["error"]
