"""UME: an ensemble of networks of single modalities (Du et al., ICML 2023)."""

from __future__ import annotations

from torch import Tensor

from ..balancing.method import Method, Step


class UME(Method):
    """Average the predictions of networks that were trained on one modality each."""

    paper = "Du et al.: On Uni-Modal Feature Learning in Supervised Multi-Modal Learning. ICML 2023"
    changes = "no joint training"
    published_modalities = 2
    late_fusion = "mean"

    def loss(self, step: Step) -> Tensor:
        """The sum of the members' losses: each sees its own only."""
        first, *others = step.member_losses()
        return sum(others, first)
