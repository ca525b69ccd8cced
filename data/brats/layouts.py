"""The published layouts of brain tumor data: what the names of files say, as data.

A layout says what follows the case ID in the name of each file. Challenges that share a layout and
not the meaning of their labels are told apart by their case IDs (`_CHALLENGES`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .conventions import CONVENTIONS, UnknownConvention

SEQUENCES = ("flair", "t1", "t1ce", "t2")

# What a channel of a `dataset.json` may be called, in lower case without signs.
SEQUENCE_NAMES = {
    **dict.fromkeys(["flair", "fla", "t2f", "t2flair"], "flair"),
    **dict.fromkeys(["t1", "t1n", "t1w"], "t1"),
    **dict.fromkeys(["t1ce", "t1c", "t1gd", "t1wce"], "t1ce"),
    **dict.fromkeys(["t2", "t2w"], "t2"),
}

NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Source:
    """Where one image lies: a file, or one of the `channels` volumes of a 4D file."""

    path: Path
    channel: int | None = None
    channels: int | None = None


# case ID -> sequence or "label" -> every file found for it
Found = dict[str, dict[str, list[Source]]]


@dataclass(frozen=True)
class Layout:
    """How the files of a case are named.

    Attributes:
        example: for messages.
        conventions: the label conventions that these names allow; a single one is proven.
        endings: what follows the case ID in the name of the file of each sequence and of "label":
            the published ending, then the others that are read, as regular expressions. Upper and
            lower case are the same. Empty for a folder of a task, see `task_folders`.
        default: the convention that is taken when the user chooses none; None asks.
        case_id: regular expression of a case ID.
        folder: the name of the folder in which files are read; None for any.
    """

    example: str
    conventions: tuple[str, ...]
    endings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default: str | None = None
    case_id: str = ".+"
    folder: str | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the name of a file of a case; its last group is the sequence, or "label"."""
        kinds = "|".join(f"(?P<{kind}>{'|'.join(ends)})" for kind, ends in self.endings.items())
        return re.compile(rf"(?P<id>{self.case_id})(?:{kinds})\.nii(?:\.gz)?", re.IGNORECASE)

    def file_name(self, case: str, kind: str) -> str:
        """Name the file that should hold a sequence or the "label" of a case."""
        if self.endings:
            return f"{case}{self.endings[kind][0]}.nii.gz"
        return f"{'labelsTr' if kind == 'label' else 'imagesTr'}/{case}.nii.gz"


_ENTITIES = "(?:_[a-z]+-[a-z0-9]+)*"  # of BIDS, such as _acq-3d_run-1
_TUMOR = "_(?:label|desc)-(?:tumou?r|glioma)[a-z0-9]*"

# In this order: what one layout takes is no longer there for the next.
LAYOUTS = {
    "ucsf_pdgm": Layout(
        "UCSF-PDGM-<ID>_{FLAIR,T1,T1c,T2}_bias.nii.gz, …_tumor_segmentation.nii.gz",
        ("brats2021",),
        {
            "flair": ("_FLAIR_bias",),
            "t1": ("_T1_bias",),
            "t1ce": ("_T1c_bias",),
            "t2": ("_T2_bias",),
            "label": ("_tumor_segmentation",),
        },
        case_id="UCSF-PDGM-.+?",
    ),
    "upenn_gbm": Layout(
        "UPENN-GBM-<ID>_{FLAIR,T1,T1GD,T2,segm}.nii.gz",
        ("brats2021",),
        {
            "flair": ("_FLAIR",),
            "t1": ("_T1",),
            "t1ce": ("_T1GD",),
            "t2": ("_T2",),
            "label": ("_segm",),
        },
        case_id=r"UPENN-GBM-\d+_\d+",  # not _automated_approx: such labels are no truth
    ),
    "bids": Layout(
        "sub-<ID>[_ses-<ID>]_{FLAIR,T1w,ce-gadolinium_T1w,T2w,label-tumor_dseg}.nii.gz",
        tuple(CONVENTIONS),
        {
            "flair": ("_FLAIR", f"{_ENTITIES}_FLAIR"),
            "t1ce": ("_ce-gadolinium_T1w", f"{_ENTITIES}_ce-[a-z0-9]+{_ENTITIES}_T1w"),
            "t1": ("_T1w", f"{_ENTITIES}_T1w"),
            "t2": ("_T2w", f"{_ENTITIES}_T2w"),
            "label": ("_label-tumor_dseg", f"{_ENTITIES}{_TUMOR}{_ENTITIES}_dseg"),
        },
        case_id="sub-[a-z0-9]+(?:_ses-[a-z0-9]+)?",
        folder="anat",
    ),
    "brats2018": Layout(
        "<ID>_{flair,t1,t1ce,t2,seg}.nii.gz",
        ("brats2021", "brats2023", "msd"),  # in the others 4 is something else than ET
        {
            "flair": ("_flair", "_fla"),
            "t1": ("_t1",),
            "t1ce": ("_t1ce", "_t1c", "_t1gd"),
            "t2": ("_t2",),
            "label": ("_seg", "_tumor_segmentation"),
        },
        default="brats2021",
    ),
    "brats2023": Layout(
        "<ID>-{t2f,t1n,t1c,t2w,seg}.nii.gz",
        ("brats2023", "brats2024"),
        {
            "flair": ("-t2f",),
            "t1": ("-t1n",),
            "t1ce": ("-t1c",),
            "t2": ("-t2w",),
            "label": ("-seg",),
        },
    ),
    "nnunet": Layout(
        "imagesTr/<ID>_0000.nii.gz to _0003, labelsTr/<ID>.nii.gz, dataset.json",
        tuple(CONVENTIONS),
    ),
    "msd": Layout("imagesTr/<ID>.nii.gz with 4 volumes, labelsTr/<ID>.nii.gz", ("msd",)),
}

# Where the case IDs of a challenge say more about its labels than the layout does.
_CHALLENGES = {
    "BraTS-PED": ("brats_peds2024", "brats_peds2023"),
    "BraTS-SSA": ("brats2023",),
    "BraTS-GoAT": ("brats2023",),
    "BraTS-MEN-RT": (),  # target volumes of radiotherapy
    "BraTS-MEN": ("brats2023",),
    "BraTS-MET": ("brats2023", "brats2024"),
    "BraTS-GLI": ("brats2023", "brats2024"),
}


def group_files(files: Iterable[Path], layout: str) -> Found:
    """Sort files into cases by their names; others are left out."""
    found: Found = defaultdict(lambda: defaultdict(list))
    pattern, folder = LAYOUTS[layout].pattern, LAYOUTS[layout].folder
    for path in files:
        match = pattern.fullmatch(path.name)
        if match and match.lastgroup and folder in (None, path.parent.name):
            found[match["id"]][match.lastgroup].append(Source(path))
    return {name: dict(sources) for name, sources in found.items()}


def beginnings(name: str) -> list[str]:
    """What a file's name begins with, up to each sign that may end a case ID.

    >>> beginnings("P1_t1.nii")
    ['P1', 'P1_t1']
    """
    return [name[: sign.start()] for sign in re.finditer(r"[-_.]", name)]


def conventions_of(layout: str, case: str) -> tuple[str, ...]:
    """Name the label conventions that the layout and the ID of a case allow."""
    if LAYOUTS[layout].endings:
        for challenge, conventions in _CHALLENGES.items():
            if case.lower().startswith(challenge.lower()):
                return conventions
    return LAYOUTS[layout].conventions


def common_conventions(
    layout: str, cases: Sequence[str], where: str, *, needed: bool
) -> tuple[str, ...]:
    """Name the label conventions that all cases of a folder allow.

    Raises:
        UnknownConvention: there is none, and one is needed.
    """
    allowed = {conventions_of(layout, case): case for case in cases}
    common = [name for name in CONVENTIONS if all(name in names for names in allowed)]
    if common or not needed:
        return tuple(common)
    if () in allowed:
        raise UnknownConvention(
            f"the labels of {allowed[()]} in {where} are target volumes of radiotherapy (GTV) and "
            'no regions of a tumor: its images can be segmented, with labels="ignored"'
        )
    meanings = "; ".join(f"{case}: {' or '.join(names)}" for names, case in allowed.items())
    raise UnknownConvention(
        f"the labels of the cases in {where} mean different things ({meanings}): give the folder "
        "of one challenge at a time"
    )
