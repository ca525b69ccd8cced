"""Unimodal training: what each modality can do alone."""

from __future__ import annotations

from torch import Tensor

from ..balancing.method import TASKS, Method, Step


class Unimodal(Method):
    """Train one network per modality, side by side, each on the task's loss alone.

    The networks share nothing, so this is M trainings in one. Evaluated with one modality
    (``--modalities "['text']"``), its network answers by itself: the unimodal rows of the paper's
    tables. With all modalities the predictions are averaged, which is UME.
    """

    paper = "single modalities"
    changes = "one network per modality"
    published = frozenset(TASKS)
    extended = frozenset()
    late_fusion = "mean"

    def loss(self, step: Step) -> Tensor:
        """The sum of the members' losses: each sees its own only."""
        first, *others = step.member_losses()
        return sum(others, first)
