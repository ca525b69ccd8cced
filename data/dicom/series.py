"""The series of a DICOM tree: what each seems to be, and which of each case is used."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydicom.pixels import get_decoder
from pydicom.uid import UID

from ..brats.layouts import SEQUENCES
from ..errors import InputError
from .headers import Contents, Frame, Header
from .recognition import recognize
from .stacks import Stack, split_frames, stack_frames

USES = ("yes", "no", "?")
_THIN = 2.0  # mm: a slice of a 3D acquisition, where the header does not say
_GCC = "pip install python-gdcm"


@dataclass
class Series:
    """One image of a study: a series, or one echo of it.

    Attributes:
        name: a digest of its UID, with a number where the series holds several images.
        header: of the DICOM series.
        frames: in any order.
        stack: the same sorted, if they are a regular stack that can be read.
        problem: else why not.
        case: name of the examination it belongs to.
        day: of the examination, counted from the first of the patient.
        sequence: one of the four, or empty.
        use: `yes`, `no`, or `?` where the user has to decide.
        reason: for both.
        proposed: sequence and use before the user's table was read.
        contrast: whether words say that a T1 is after contrast (True) or before it (False).
    """

    name: str
    header: Header
    frames: list[Frame]
    stack: Stack | None = None
    problem: str = ""
    case: str = ""
    day: int | str = ""
    sequence: str = ""
    use: str = "no"
    reason: str = ""
    proposed: str = ""
    contrast: bool | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        """Case, number and description, for messages."""
        return f"case {self.case}, {self.numbered}"

    @property
    def numbered(self) -> str:
        """Number and description."""
        description = without_names(self.header.description, self.header)
        return f"series {self.header.number or '?'} ({description})"

    @property
    def thin(self) -> bool:
        """Whether it is a 3D acquisition, or as thin as one."""
        return self.header.dimension == "3D" or self._slice_mm <= _THIN

    @property
    def rank(self) -> tuple[float, ...]:
        """Smaller is the better choice of two series for a sequence."""
        derived = self.frames[0].image_type.upper().startswith("DERIVED")
        slices = len(self.frames)
        return (not self.thin, round(self._slice_mm, 1), derived, -slices)

    @property
    def _slice_mm(self) -> float:
        return self.stack.voxel_mm[2] if self.stack else float("inf")


def series_of(contents: Contents) -> list[Series]:
    """Describe every series of a tree: its stack or problem, and the proposed sequence.

    Two echoes of a series become two. One that cannot be used has a `problem`; it stops no other.
    """
    found = []
    for header, frames in contents.series.values():
        groups = split_frames(frames)
        for number, group in enumerate(groups, 1):
            # A letter first: a spreadsheet would take some digests for numbers.
            name = f"s{hashlib.sha256(header.series.encode()).hexdigest()[:10]}"
            series = Series(name if len(groups) == 1 else f"{name}-{number}", header, group)
            _describe(series)
            found.append(series)
    return found


def choose(series: Iterable[Series]) -> None:
    """Set `use` of all series: yes for one of each sequence and case, ? where the user decides."""
    series = list(series)
    claims: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        if one.sequence and one.stack is not None and one.case:
            claims[one.case, one.sequence].append(one)
    for (case, sequence), claimants in claims.items():
        sure = [one for one in claimants if one.use == "yes"]
        for one in claimants:
            if sure and one.use == "?":
                one.use, one.reason = "no", f"{one.reason}; another is {sequence} more clearly"
        if len(sure) > 1:
            _prefer(sure, sequence)
        other = {"t1": "t1ce", "t1ce": "t1"}.get(sequence)
        silent = [one for one in sure if one.contrast is None]
        if other and len(silent) > 1 and (case, other) not in claims:
            for one in silent:
                one.use = "?"
                one.reason += "; several T1, of which words do not say before or after contrast"
    for one in series:
        one.proposed = f"{one.sequence or 'none'} {one.use}"


def without_names(text: str, header: Header) -> str:
    """Take the patient's name, ID and birth date out of a free text."""
    words = {part for private in header.private for part in re.split(r"[\s^=,]+", private)}
    for word in sorted({*header.private, *words}, key=len, reverse=True):
        if len(word) > 2:
            text = re.sub(re.escape(word), "***", text, flags=re.IGNORECASE)
    return text


def _describe(series: Series) -> None:
    """Set stack or problem, sequence, use and reason."""
    header, frames = series.header, series.frames
    try:
        _check_readable(header)
        series.stack = stack_frames(frames)
    except InputError as error:
        series.problem = str(error)
    if header.modality != "MR":
        series.reason = series.problem
        return
    proposal = recognize(header, frames[0])
    series.sequence, series.contrast = proposal.sequence, proposal.contrast
    if not proposal.sequence:
        series.reason = proposal.reason
    elif series.problem:
        series.reason = f"cannot be used: {series.problem}"
    else:
        series.use, series.reason = "yes" if proposal.sure else "?", proposal.reason
        _doubt_gaps(series)


def _check_readable(header: Header) -> None:
    if header.modality != "MR":
        raise InputError(f"modality {header.modality or 'unknown'}; expected MR")
    if header.colors:
        raise InputError("its pixels are colors; expected gray values")
    syntax = UID(header.transfer_syntax)
    if not syntax or not syntax.is_compressed:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise InputError(
            f"its pixels are stored as {syntax.name}, which is not read: export them uncompressed"
        ) from None
    if not available:
        raise InputError(
            f"its pixels are compressed ({syntax.name}), which needs another package: {_GCC}, or "
            "export them uncompressed"
        )


def _doubt_gaps(series: Series) -> None:
    """Ask where slices are so far apart that every second one may be missing."""
    thickness = series.header.thickness
    spacing = series.stack.voxel_mm[2] if series.stack else 0.0
    if thickness and spacing > 1.9 * thickness:
        series.use = "?"
        series.reason += (
            f"; slices of {thickness:g} mm lie {spacing:g} mm apart: is every second one missing?"
        )


def _prefer(claimants: Sequence[Series], sequence: str) -> None:
    """Keep the thinnest of several series for a sequence; of equal ones the latest."""
    latest = sorted(claimants, key=lambda one: one.header.acquired, reverse=True)
    best = min(latest, key=lambda one: one.rank)
    for one in claimants:
        if one is best:
            continue
        why = "thinner" if best.rank[:2] < one.rank[:2] else "more original or complete"
        if best.rank == one.rank:
            why = "later, and perhaps the repetition of this one"
        one.use = "no"
        one.reason = f"series {best.header.number or best.name} is {sequence}, too, and {why}"
    best.reason += f"; preferred to {len(claimants) - 1} other of {sequence}"


def check_use(series: Sequence[Series]) -> list[str]:
    """Say what is wrong with what a table asks for, for one case."""
    problems = []
    taken: dict[str, Series] = {}
    for one in series:
        if one.use != "yes":
            continue
        if one.sequence not in SEQUENCES:
            problems.append(
                f"{one.where}: use is yes and sequence {one.sequence!r}; expected one of "
                f"{', '.join(SEQUENCES)}"
            )
        elif one.stack is None:
            problems.append(f"{one.where} cannot be used: {one.problem}")
        elif one.sequence in taken:
            problems.append(
                f"{one.where}: another series is {one.sequence}, too; set use of one to no"
            )
        else:
            taken[one.sequence] = one
    return problems
