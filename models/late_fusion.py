"""How are networks of single modalities combined by their predictions alone?"""

from typing import Any

import torch
from torch import Tensor, nn

from .multimodal import check_modalities
from .segmentation import SegmentationNetwork
from .transformer import TransformerNetwork

RULES = ("mean", "confidence", "sum")


class LateFusion(nn.Module):
    """One network per modality, and a rule that joins their predictions.

    "mean" is the unimodal ensemble (UME, Du et al. 2023), "confidence" weighs each prediction by
    the energy of its logits (QMF, Zhang et al. 2023), "sum" adds them up (ReconBoost, Hua et al.
    2024). Given a single modality, the network of that modality answers alone. Inputs are those of
    :class:`TransformerNetwork`.

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
        found: dict[str, nn.Module] = {}
        for name, member in self.members.items():
            encoders: Any = member.encoders
            found[name] = encoders[name]
        return found

    def forward(self, inputs: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Predict from ``(values, lengths)`` by modality; logits or values, (B, outputs)."""
        for name in inputs:
            if name not in self.modalities:
                raise ValueError(f"no modality is called '{name}'; it has {self.modalities}")
        predictions: list[Tensor] = []
        present: list[Tensor] = []
        for name, member in self.members.items():
            if name in inputs:
                predictions.append(member({name: inputs[name]}))
                present.append(inputs[name][1] > 0)
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
    """Late fusion for slices: an image of shape (B, S, H, W), its channels in order."""

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Predict logits (B, classes, H, W).

        Args:
            image: normalized slices, shape (B, S, H, W).
            present: which sequences exist, shape (S,) or (B, S); all when not given.
        """
        count = len(self.modalities)
        if image.dim() != 4 or image.shape[1] != count:
            raise ValueError(
                f"the network takes slices of shape (B, {count}, H, W), got {image.shape}"
            )
        rows = torch.ones([image.shape[0], count], dtype=torch.bool, device=image.device)
        if present is not None:
            rows = rows & present.to(torch.bool)
        predictions: list[Tensor] = []
        here: list[Tensor] = []
        for index, member in enumerate(self.members.values()):
            predictions.append(member(image[:, index : index + 1]))
            here.append(rows[:, index])
        return self.combine(predictions, here)


def transformer_network(
    widths: dict[str, int], outputs: int, *, late_fusion: str | None = None, **sizes: Any
) -> TransformerNetwork | LateFusion:
    """Build a network on features: with a fusion inside, or a late fusion of single modalities.

    Args:
        widths: of the feature vectors, by modality.
        outputs: number of classes, or 1 for a regression.
        late_fusion: None, or a rule of :class:`LateFusion`.
        sizes: further arguments of :class:`TransformerNetwork`.
    """
    if late_fusion is None:
        return TransformerNetwork(widths, outputs, **sizes)
    members: dict[str, nn.Module] = {
        name: TransformerNetwork({name: width}, outputs, **sizes) for name, width in widths.items()
    }
    return LateFusion(members, late_fusion)


def segmentation_network(
    sequences: list[str], *, late_fusion: str | None = None, **settings: Any
) -> SegmentationNetwork | SegmentationLateFusion:
    """Build a network for slices: with a fusion inside, or a late fusion of single sequences.

    Args:
        sequences: names, in the order of the image's channels.
        late_fusion: None, or a rule of :class:`LateFusion`.
        settings: further arguments of :class:`SegmentationNetwork`.
    """
    if late_fusion is None:
        return SegmentationNetwork(sequences, **settings)
    members: dict[str, nn.Module] = {
        name: SegmentationNetwork([name], **settings) for name in sequences
    }
    return SegmentationLateFusion(members, late_fusion)
