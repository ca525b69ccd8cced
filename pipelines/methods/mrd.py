"""Modality random dropout, as compared in CGGM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..balancing.features import batch_size, check_kept, masked
from ..balancing.method import TASKS, Method, Run, Step
from ..balancing.modality_dropout import ModalityDropout, Sampler
from ..balancing.settings import check_number


class MRD(Method):
    """Drop modalities at random while training, at least one is kept; test with all.

    Each sample draws which modalities it keeps. A dropped modality is absent for the fusion: its
    tokens are hidden from a transformer, its feature maps or vectors are zeros. The task loss does
    the rest, so every task and any number of modalities are covered.

    The paper on CGGM compares with this method and cites no source for it; "replacing them with 0
    or other fixed values" fits inputs and features. We drop features: an encoder of zeros does not
    give zeros, and its normalization would learn from them. Its p is not told either; 0.3 is ours.
    A sample that lacks modalities by itself may lose the others: the draw does not look at the
    data. :class:`cggm.ModalityDropout` does, and goes with every other method.

    Args:
        p: probability that a modality is dropped, in [0, 1).
        sampler: "independent" drops each modality with p, under the condition that one is left;
            "subsets" chooses one of the 2^M - 1 non-empty subsets, the habit on BraTS (RFNet,
            mmFormer): each modality is then kept with 2^(M-1) / (2^M - 1), and p is not read.
        seed: of the draws, which are apart from all others: the data come in the order of joint
            training.

    Raises:
        ValueError: a setting out of its range.
    """

    paper = "modality dropout as compared in CGGM (NeurIPS 2024); no source is cited there"
    changes = "features of random modalities are left out"
    published = frozenset(TASKS)
    extended = frozenset()

    def __init__(self, p: float = 0.3, sampler: Sampler = "independent", *, seed: int = 0) -> None:
        check_number("p", p, below=1)
        self._dropout = ModalityDropout(p, sampler=sampler, seed=seed)
        self.p, self.seed = p, seed
        self.sampler: Sampler = sampler
        self.drops = p if sampler == "independent" else 0.5
        self._kept: Tensor | None = None  # of the forward pass at hand
        self._seen: set[str] = set()
        self._shares = torch.zeros(0)

    def prepare(self, run: Run) -> None:
        super().prepare(run)
        self._kept = None

    def feature(self, modality: str, feature: Any, run: Run) -> Any:
        """Leave a modality out for the samples that drop it."""
        if self._kept is None or modality in self._seen:
            self._draw(batch_size(feature), run)
        kept = check_kept(self._kept, feature, modality, "MRD")
        self._seen.add(modality)
        return masked(feature, kept[:, run.modalities.index(modality)])

    def _draw(self, samples: int, run: Run) -> None:
        self._kept = self._dropout.draw(
            samples, run.modalities, epoch=run.epoch, available=run.available
        )
        self._shares = self._kept.float().mean(0)
        self._seen = set()

    def loss(self, step: Step) -> Tensor:
        """The task loss of what was kept."""
        self._kept = None
        return step.task_loss

    def record(self) -> dict[str, Tensor]:
        """Share of the samples that kept a modality, in the last micro-batch of the step."""
        return {"kept": self._shares}

    def state_dict(self) -> dict[str, Any]:
        return {"forwards": self._dropout.passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._dropout.passes = int(state["forwards"])
