"""Late fusion: networks of single modalities, joined by their predictions alone."""

from typing import Any

import torch
from torch import Tensor, nn

from .multimodal import check_modalities

RULES = ("mean", "confidence", "sum")


class LateFusion(nn.Module):
    """One network per modality, and a rule that joins their predictions.

    "mean" is the unimodal ensemble (UME, Du et al. 2023), "confidence" weighs each prediction by
    the energy of its logits (QMF, Zhang et al. 2023), "sum" adds them up (ReconBoost, Hua et al.
    2024). Given a single modality, the network of that modality answers alone. Inputs are those of
    :class:`TransformerNetwork`, or one tensor per modality.

    Args:
        members: one network per modality, each for this modality only.
        rule: "mean", "confidence" or "sum".

    Raises:
        ValueError: there is no such rule, or the names of the modalities cannot be used.
    """

    def __init__(self, members: dict[str, nn.Module], rule: str = "mean") -> None:
        super().__init__()
        check_modalities(list(members))
        if rule not in RULES:
            raise ValueError(f"late fusion is {rule!r}; it is one of {list(RULES)}")
        self.members = nn.ModuleDict(members)
        self.modalities = list(members)
        self.rule = rule
        self.temperature = 10.0  # of the energy, as in the released code of QMF

    @property
    @torch.jit.unused
    def encoders(self) -> dict[str, nn.Module]:
        """The encoder of each member, by modality."""
        by_modality: dict[str, nn.Module] = {}
        for name, member in self.members.items():
            encoders: Any = member.encoders
            by_modality[name] = encoders[name]
        return by_modality

    def forward(self, inputs: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Predict from inputs by modality; logits or values, (B, outputs).

        Args:
            inputs: ``(values, lengths)`` of sequences, where the length 0 is absent, or tensors
                (B, ...), which every sample has.

        Raises:
            ValueError: no modality is given, or one that there is not.
        """
        for name in inputs:
            if name not in self.modalities:
                raise ValueError(f"no modality is called '{name}'; it has {self.modalities}")
        predictions: list[Tensor] = []
        present: list[Tensor] = []
        for name, member in self.members.items():
            if name in inputs:
                given = inputs[name]
                predictions.append(member({name: given}))
                if isinstance(given, Tensor):  # TorchScript has sequences only, as annotated
                    present.append(torch.ones(len(given), dtype=torch.bool, device=given.device))
                else:
                    present.append(given[1] > 0)
        return self.combine(predictions, present)

    def combine(self, predictions: list[Tensor], present: list[Tensor]) -> Tensor:
        """Join predictions (B, C, ...) of the members, where each is present (B,)."""
        if len(predictions) == 0:
            raise ValueError("at least one modality must be present, got none")
        total = torch.zeros_like(predictions[0])
        weights = torch.zeros_like(predictions[0][:, :1])
        for prediction, here in zip(predictions, present):  # noqa: B905 (TorchScript)
            weight = here.to(prediction.dtype).view([-1] + [1] * (prediction.dim() - 1))
            if self.rule == "confidence":
                # The fusion's loss trains the members, not how sure they are of themselves.
                energy = torch.logsumexp(prediction, dim=1, keepdim=True).detach()
                weight = weight * energy / self.temperature
            total = total + weight * prediction
            weights = weights + weight
        return total / weights.clamp(min=1.0) if self.rule == "mean" else total


class SegmentationLateFusion(LateFusion):
    """Late fusion for slices (B, S, H, W) or volumes (B, S, X, Y, Z), the channels in order.

    With n neighbors slices are (B, S (2n + 1), H, W), see :class:`SegmentationNetwork`.
    """

    def __init__(
        self, members: dict[str, nn.Module], rule: str = "mean", *, neighbors: int = 0
    ) -> None:
        super().__init__(members, rule)
        self.neighbors, self.depth = neighbors, 2 * neighbors + 1

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Predict logits, shape (B, classes, ...) at the resolution of the image.

        Args:
            image: normalized, as the members take it but with the channels of S sequences.
            present: which sequences exist, shape (S,) or (B, S); all when not given.
        """
        count = len(self.modalities)
        channels = count * self.depth
        if image.dim() < 4 or image.shape[1] != channels:
            raise ValueError(
                f"the network takes images of shape (B, {channels}, ...), got {image.shape}"
            )
        rows = torch.ones([image.shape[0], count], dtype=torch.bool, device=image.device)
        if present is not None:
            rows = rows & present.to(torch.bool)
        predictions: list[Tensor] = []
        here: list[Tensor] = []
        for index, member in enumerate(self.members.values()):
            predictions.append(member(image[:, index * self.depth : (index + 1) * self.depth]))
            here.append(rows[:, index])
        return self.combine(predictions, here)
