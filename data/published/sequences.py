"""Padded sequences: which steps are real, and which values are no numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .published_set import Progress, share, trimmed


class Sequences:
    """The padded sequences of one modality, of several parts of a data set.

    Args:
        name: of the modality.
        parts: arrays (N, T, D), one per part.
        lengths: true lengths (N,) of each part, where they are given.
    """

    def __init__(
        self, name: str, parts: Sequence[np.ndarray], lengths: Sequence[np.ndarray | None]
    ) -> None:
        self.name = name
        self.parts = list(parts)
        self.width = int(parts[0].shape[2])
        self.given = [
            -1 if part is None else int(part[row])
            for array, part in zip(parts, lengths, strict=True)
            for row in range(len(array))
        ]
        self.spans: list[tuple[int, int]] = [(0, array.shape[1]) for array in parts for _ in array]
        self.bad = dict.fromkeys(("NaN", "+infinity", "-infinity"), 0)
        self.bad_samples = 0
        self.empty: set[int] = set()
        self.wrong_lengths = 0

    def lengths(self) -> list[int]:
        """Steps of each sample without padding."""
        return [end - start for start, end in self.spans]

    def samples(self) -> Iterator[np.ndarray]:
        """Give each sample with its padding, as float32 and finite, shape (T, D)."""
        for row in self._stored():
            yield np.nan_to_num(row, nan=0.0, posinf=0.0, neginf=0.0)

    def read(self) -> Iterator[np.ndarray]:
        """Give each sample without its padding."""
        for sample, (start, end) in zip(self.samples(), self.spans, strict=True):
            yield sample[start:end]

    def count_bad(self) -> None:
        """Count the values that are not finite."""
        for row in self._stored():
            if np.isfinite(row).all():
                continue
            self.bad_samples += 1
            self.bad["NaN"] += int(np.isnan(row).sum())
            self.bad["+infinity"] += int(np.isposinf(row).sum())
            self.bad["-infinity"] += int(np.isneginf(row).sum())

    def _stored(self) -> Iterator[np.ndarray]:
        for array in self.parts:
            for row in array:
                with np.errstate(over="ignore"):  # what is too large for 32 bits becomes infinite
                    single = row.astype(np.float32)
                yield single

    def notes(self) -> list[str]:
        """Say what was counted."""
        total, notes = len(self.spans), []
        if self.bad_samples:
            values = ", ".join(f"{count:,} {what}" for what, count in self.bad.items() if count)
            notes.append(
                f"{self.name}: values that are not finite became 0 in "
                f"{share(self.bad_samples, total)} samples ({values})"
            )
        if self.empty:
            notes.append(
                f"{self.name}: {share(len(self.empty), total)} samples are all zero, as if "
                "missing; they keep a zero step"
            )
        if self.wrong_lengths:
            notes.append(
                f"{self.name}: {share(self.wrong_lengths, total)} samples do not fit "
                f"{self.name}_lengths; their zero steps were taken off instead"
            )
        return notes


def padded_sequences(
    modalities: Mapping[str, Sequences], *, together: bool, progress: Progress, where: Path
) -> list[str]:
    """Find the padding of each sample of each modality; say what was found.

    Args:
        modalities: what to look at; their spans are set.
        together: take off only steps that are padding in all modalities.
        progress: goes through the samples.
        where: the file, for error messages.

    Raises:
        InputError: steps shall stay together, but the modalities have different numbers of them.
    """
    if together:
        _check_aligned(modalities, where)
    for sequences in modalities.values():
        sequences.count_bad()
        samples = progress(sequences.samples(), sequences.name)
        sequences.spans = [_span(sequences, row, sample) for row, sample in enumerate(samples)]
    if together:
        joint = _joint(list(modalities.values()))
        for sequences in modalities.values():
            sequences.spans = joint
    return [note for sequences in modalities.values() for note in sequences.notes()]


def _joint(modalities: Sequence[Sequences]) -> list[tuple[int, int]]:
    """The steps of each sample in which any modality has something."""
    joint: list[tuple[int, int]] = []
    for row in range(len(modalities[0].spans)):
        spans = [each.spans[row] for each in modalities if row not in each.empty] or [(0, 1)]
        joint.append((min(start for start, _ in spans), max(end for _, end in spans)))
    return joint


def _span(sequences: Sequences, row: int, sample: np.ndarray) -> tuple[int, int]:
    length = sequences.given[row]
    start, end = trimmed(sample)
    if not sample.any():
        sequences.empty.add(row)
        return start, end
    if length < 0:
        return start, end
    if 1 <= length <= len(sample) and end <= length:
        return 0, length
    sequences.wrong_lengths += 1
    return start, end


def _check_aligned(modalities: Mapping[str, Sequences], where: Path) -> None:
    steps = {
        name: sorted({array.shape[1] for array in sequences.parts})
        for name, sequences in modalities.items()
    }
    if len({tuple(found) for found in steps.values()}) > 1:
        found = ", ".join(f"{name} {', '.join(map(str, n))}" for name, n in steps.items())
        raise InputError(
            f"{where} is not aligned: its modalities have different numbers of steps ({found}); "
            "take the padding off each modality (--padding each)"
        )
