"""What a check of a case can find: codes, how bad each is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

SEVERITIES = ("error", "warning", "note")  # error: the mask will be wrong

# Code: severity and remedy. The limits stand beside the checks, with their reasons.
CODES: dict[str, tuple[str, str]] = {
    "not_stripped": ("error", "remove skull and scalp, for example with cggm prepare"),
    "empty": ("error", "export the image again, or leave this sequence out"),
    "constant": ("error", "give the image itself, not a mask or rounded z-scores"),
    "identical": ("error", "find the right file for one of them, or leave one out"),
    "swapped": ("error", "exchange the two files if a look at them agrees"),
    "orientation": ("error", "write the header again from the original series"),
    "position": ("warning", "convert the original series again, for example with cggm dicom"),
    "incomplete": ("warning", "leave this sequence out, or take a series of the whole head"),
    "unregistered": ("warning", "register the sequences, for example with cggm prepare"),
    "t1_is_t1ce": ("warning", "look for the T1 from before the contrast agent, or leave t1 out"),
    "t1ce_is_t1": ("note", "make sure that t1ce was taken after the contrast agent"),
    "slab": ("warning", "take a series of the whole head with thinner slices if there is one"),
    "spacing": (
        "warning",
        "resample to the voxels of the training, as cggm prepare --spacing does",
    ),
    "clipped": ("warning", "export the image again without windowing"),
    "brain_volume": ("warning", "look at the brain mask, and correct it"),
    "intensities": (
        "warning",
        "make sure that this is the sequence, and that it shows no artifact",
    ),
    "not_used": (
        "warning",
        "rename them to end with their sequence, such as P01_flair.nii.gz, or take them away",
    ),
    "series_refused": (
        "warning",
        "export the whole series again; docs/dicom.md says what is read",
    ),
    "trained_on": (
        "note",
        "leave this case out where masks are judged: a new patient's will be worse",
    ),
}
BEFOREHAND = ("not_used", "series_refused", "trained_on")  # known before any image is read


@dataclass(frozen=True)
class Finding:
    """One thing that is odd about a case.

    Attributes:
        code: one of :data:`CODES`.
        severity: "error" (the mask will be wrong), "warning" (it may be) or "note".
        sequence: the sequence it is about, None where it is about the case.
        sentence: what was found, with the figure.
        remedy: what to do.
    """

    code: str
    severity: str
    sequence: str | None
    sentence: str
    remedy: str

    def as_dict(self) -> dict[str, str | None]:
        """Give the fields for a JSON record."""
        return asdict(self)


def finding(code: str, sentence: str, sequence: str | None = None) -> Finding:
    """Make a finding, with the severity and the remedy of its code."""
    severity, remedy = CODES[code]
    return Finding(code, severity, sequence, sentence, remedy)


def by_severity(found: Iterable[Finding]) -> list[Finding]:
    """Sort findings, errors first."""
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))
