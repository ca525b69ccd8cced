"""Modality dropout: what the fusion of a network sees of each training sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from .distributed import is_distributed
from .features import nonempty_subsets
from .randomness import seeded
from .settings import check_choice, check_number, check_whole

Sampler = Literal["independent", "subsets"]
# A rate of 1 drops a modality wherever a sample has another one.
_ALMOST_ALWAYS = 1 - 1e-9


def subset_probabilities(count: int, p: float | Tensor, sampler: Sampler = "independent") -> Tensor:
    """Probability of every non-empty subset of modalities, in the order of `nonempty_subsets`.

    Args:
        count: number of modalities, M.
        p: probability that a modality is dropped, of all or of each, shape (M,); not read by
            "subsets".
        sampler: "independent": each modality is dropped on its own, under the condition that one
            is left; "subsets": each of the 2^M - 1 subsets is as likely as the others.

    Returns:
        Shape (2^M - 1,), with sum 1.

    >>> subset_probabilities(2, p=0.5)
    tensor([0.3333, 0.3333, 0.3333])
    >>> subset_probabilities(2, p=0.0)
    tensor([0., 0., 1.])
    """
    subsets = nonempty_subsets(count)
    weights = torch.ones(len(subsets), dtype=torch.float64)
    if sampler == "independent":
        rates = torch.as_tensor(p, dtype=torch.float64).expand(count)
        weights = torch.where(subsets, 1 - rates, rates).prod(1)
    return (weights / weights.sum()).float()


def draw_kept(
    samples: int,
    count: int,
    p: float | Tensor,
    sampler: Sampler,
    generator: torch.Generator,
    available: Tensor | None = None,
) -> Tensor:
    """Draw which modalities each sample keeps, at least one.

    Args:
        samples: how many.
        count: number of modalities, M.
        p: see `subset_probabilities`.
        sampler: see `subset_probabilities`.
        generator: of the draws.
        available: which modalities each sample has, bool, shape (samples, M); all without it.

    Returns:
        Bool, shape (samples, M), at least one True in each row, of those that are available.

    >>> draw_kept(2, 3, 0.0, "independent", torch.Generator())
    tensor([[True, True, True],
            [True, True, True]])
    """
    subsets, probabilities = nonempty_subsets(count), subset_probabilities(count, p, sampler)
    if available is None or bool(available.all()):
        chosen = torch.multinomial(probabilities, samples, replacement=True, generator=generator)
        return subsets[chosen]
    left = subsets & available[:, None]  # (samples, subsets, M)
    fitting = torch.where(left.any(2), probabilities.double(), 0.0)
    chosen = torch.multinomial(fitting, 1, generator=generator)[:, 0]
    return subsets[chosen] & available


class ModalityDropout:
    """Masks whole modalities in the fusion while training, never all of a sample's.

    A :class:`Balancer` with it trains the network for every subset of the modalities, beside any
    method: ``Balancer(CGGM(), network, ..., dropout=ModalityDropout(0.3))``. What is dropped is
    absent for the fusion as it is at inference: tokens are hidden from a transformer, maps and
    vectors are zeros. Classifiers, and with them the scores of a method, see every modality's own
    features.
    A sample that lacks modalities draws from those it has (a network that tells them has
    ``presence``, see :class:`cggm.models.MultimodalNetwork`).

    The draws are apart from all others, and depend on seed, epoch, pass and process only: the data
    come in the order of training without dropout.

    Args:
        p: probability that a modality is dropped, in [0, 1]; not read by "subsets".
        sampler: "independent" drops each modality on its own, under the condition that one is
            left; "subsets" takes each non-empty subset as likely as the others (RFNet, mmFormer).
        missing: probabilities of modalities of their own, by name; p is that of the others.
        complete: share of the samples that keep all they have, whatever the probabilities: with
            0.5, every second sample on average is as without dropout.
        ramp_epochs: epochs in which the probabilities rise from 0, in equal steps: the first epoch
            drops nothing, epoch ``ramp_epochs + 1`` is the first at full rates. 0 begins with them.
        seed: of the draws.

    Raises:
        ValueError: a setting out of its range, or all modalities would be masked.
    """

    def __init__(
        self,
        p: float = 0.3,
        *,
        sampler: Sampler = "independent",
        missing: Mapping[str, float] | None = None,
        complete: float = 0.0,
        ramp_epochs: int = 0,
        seed: int = 0,
    ) -> None:
        check_number("modality dropout p", p, 1)
        check_choice("sampler", sampler, get_args(Sampler))
        check_whole("ramp_epochs", ramp_epochs, 0)
        check_whole("seed", seed)
        check_number("complete", complete, 1)
        self.p, self.complete, self.ramp_epochs, self.seed = p, complete, ramp_epochs, seed
        self.sampler: Sampler = sampler
        self.missing = _rates(missing)
        if self.missing and sampler == "subsets":
            raise ValueError(
                "missing gives modalities rates of their own, which sampler='subsets' cannot keep: "
                "choose sampler='independent'"
            )
        self.passes = 0  # forward passes so far, of all epochs

    @property
    def is_active(self) -> bool:
        """Whether anything can be dropped; without it training is as without this object."""
        drops = self.sampler == "subsets" or self.p > 0 or any(self.missing.values())
        return drops and self.complete < 1

    def rates(self, modalities: Sequence[str]) -> dict[str, float]:
        """Probability that each modality is dropped from a sample that is not spared.

        Before the condition that one is left, and without the samples of ``complete``.

        Raises:
            ValueError: ``missing`` names none of them, or all would be masked.
        """
        unknown = [name for name in self.missing if name not in modalities]
        if unknown:
            near = get_close_matches(unknown[0], modalities, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"missing names {unknown[0]!r}; the network has {list(modalities)}{hint}"
            )
        if self.sampler == "subsets":  # of 2^M - 1 subsets, 2^(M - 1) have a modality
            count = len(modalities)
            dropped = (2.0 ** (count - 1) - 1) / (2.0**count - 1)
            return dict.fromkeys(modalities, dropped)
        rates = {name: float(self.missing.get(name, self.p)) for name in modalities}
        if rates and min(rates.values()) == 1:
            raise ValueError(
                f"modality dropout of 1 for each of {list(modalities)} would mask all of them: "
                "give one of them a rate below 1"
            )
        return rates

    def draw(
        self,
        samples: int,
        modalities: Sequence[str],
        *,
        epoch: int = 1,
        available: Tensor | None = None,
    ) -> Tensor:
        """Draw which modalities the fusion sees, for one forward pass.

        Args:
            samples: how many there are in the batch.
            modalities: their names, M.
            epoch: from 1.
            available: which modalities each sample has, bool, (samples, M); all without it. What
                to make of a sample that has none is the network's matter.

        Returns:
            Bool, shape (samples, M), at least one True in each row.
        """
        if available is not None:
            available = available.cpu() | ~available.cpu().any(1, keepdim=True)
        rank = dist.get_rank() if is_distributed() else 0
        generator = seeded(self.seed, epoch, self.passes, rank)
        self.passes += 1
        share = min(1.0, (epoch - 1) / self.ramp_epochs) if self.ramp_epochs else 1.0
        count = len(modalities)
        if self.sampler == "independent":
            full = torch.tensor(list(self.rates(modalities).values()), dtype=torch.float64)
            rates = share * full.clamp(max=_ALMOST_ALWAYS)
            kept = draw_kept(samples, count, rates, self.sampler, generator, available)
            dropping = 1 - self.complete
        else:
            kept = draw_kept(samples, count, 0.0, self.sampler, generator, available)
            dropping = (1 - self.complete) * share
        if dropping == 1:
            return kept
        spared = torch.rand(samples, 1, generator=generator) >= dropping
        return torch.where(spared, torch.ones_like(kept) if available is None else available, kept)

    def state_dict(self) -> dict[str, Any]:
        """What the next draws depend on, besides the settings."""
        return {"passes": self.passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self.passes = int(state["passes"])


def subset_warning(description: Mapping[str, Any], present: Sequence[str]) -> str | None:
    """What to say when a network answers without modalities it was never trained without.

    Args:
        description: what lies beside the weights (model.json): ``modality_dropout``, the rates it
            was trained with, by modality; ``absent``, the share of its training samples that lacked
            each; ``late_fusion``, whose members answer alone anyway.
        present: the modalities that the network is given.

    Returns:
        One sentence with the remedy; None where there is nothing to warn of.

    >>> subset_warning({"modality_dropout": {"flair": 0.3, "t1": 0.3}}, ["t1"]) is None
    True
    """
    rates: Mapping[str, float] = description.get("modality_dropout") or {}
    absent: Mapping[str, float] = description.get("absent") or {}
    names = description.get("sequences") or description.get("modalities") or list(rates)
    unseen = [n for n in names if n not in present and not (rates.get(n) or absent.get(n))]
    if not unseen or description.get("late_fusion") or description.get("method") == "mrd":
        return None
    return (
        f"this network was never trained without {' and '.join(unseen)}, so what it says without "
        f"{'it' if len(unseen) == 1 else 'them'} is not reliable: train it with "
        "modality dropout (--modality_dropout 0.5)"
    )


def _rates(missing: Mapping[str, float] | None) -> dict[str, float]:
    if missing is None:
        return {}
    if not isinstance(missing, Mapping):
        raise ValueError(
            f"missing is {missing!r}; it is a rate by modality, such as {{'t1ce': 0.5}}"
        )
    for name, rate in missing.items():
        check_number(f"missing of {name!r}", rate, 1)
    return {str(name): rate for name, rate in missing.items()}
