"""Which sequences each sample has: checks, and zeros for those that it does not have."""

import torch
from torch import Tensor


def rows_of(present: Tensor | None, batch: int, sequences: int, sample: str) -> Tensor | None:
    """Bring `present` to shape (batch, sequences).

    Args:
        present: of shape (sequences,) or (batch, sequences), or None for all.
        batch: number of samples.
        sequences: number of sequences.
        sample: what a sample is called in messages.

    Raises:
        ValueError: it has another shape, or a sample has no sequence.
    """
    if present is None:
        return None
    shape = list(present.shape)
    if shape != [sequences] and shape != [batch, sequences]:
        raise ValueError(
            f"present must have shape ({sequences},) or ({batch}, {sequences}), got {shape}"
        )
    rows = present.to(torch.bool).expand(batch, sequences)
    if not bool(rows.any(dim=1).all()):
        raise ValueError(f"at least one sequence must be present in every {sample}, got none")
    return rows


def available_rows(
    found: list[str], modalities: list[str], rows: Tensor | None, features: Tensor
) -> Tensor | None:
    """Tell which sequences a fusion gets, shape (B, S), or None when it gets them all.

    Args:
        found: names of the sequences that have features.
        modalities: names of the network's.
        rows: from :func:`rows_of`.
        features: any, shape (B, ...).
    """
    for name in found:
        if name not in modalities:
            raise ValueError(f"no sequence is called '{name}'; it has {modalities}")
    if len(found) == len(modalities):
        return rows
    here = torch.tensor([name in found for name in modalities], device=features.device)
    here = here.expand(features.shape[0], -1)
    return here if rows is None else here & rows


def spread(features: Tensor, rows: Tensor) -> Tensor:
    """Put features of the chosen rows among zeros for the others."""
    whole = features.new_zeros([rows.shape[0]] + list(features.shape[1:]))
    whole[rows] = features
    return whole


def hide(features: Tensor, rows: Tensor | None, index: int) -> Tensor:
    """Make one sequence's features zero for the samples that do not have it."""
    if rows is None:
        return features
    here = rows[:, index].view([-1] + [1] * (features.dim() - 1))
    return torch.where(here, features, torch.zeros_like(features))


def check_image(
    image: Tensor, modalities: list[str], sample: str, axes: str, depth: int = 1
) -> None:
    """Refuse an image of another shape than (B, S times depth, and one extent per axis).

    Args:
        image: what a network got.
        modalities: its S sequences.
        sample: what samples are called, in plural.
        axes: names of the axes of one sample, such as "H, W".
        depth: channels of each sequence.
    """
    count = len(modalities) * depth
    if image.ndim != 3 + axes.count(","):
        raise ValueError(
            f"the network takes {sample} of shape (B, {count}, {axes}), "
            f"got an image of shape {tuple(image.shape)}"
        )
    if image.shape[1] != count:
        raise ValueError(
            f"the network has sequences {modalities} ({_channels(count)}), "
            f"got {_channels(image.shape[1])}"
        )


def _channels(count: int) -> str:
    return f"{count} channel" if count == 1 else f"{count} channels"
