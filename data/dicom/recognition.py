"""Which of the four sequences a series is, from its descriptions and timing.

Words come first, since they were chosen for this purpose; times in ms confirm or contradict them.
What neither tells is left to the user.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .headers import Frame, Header

# Not anatomical, not of the brain, or made from other images. In the order of the message.
_OTHER = {
    "a localizer": r"loc|localizer|localiser|scout|survey|aahead|3-?plane|surv",
    "diffusion imaging": r"dwi|dti|adc|diff|diffusion|trace|tracew|fa|b\d{3,4}|noddi|dki|ep2d",
    "perfusion imaging": r"perf|perfusion|dsc|dce|pwi|asl|pcasl|cb[fv]|rcb[fv]|mtt|ttp|ktrans",
    "susceptibility imaging": r"swi|swan|swip|t2\*|t2star|t2s|hemo|venobold|qsm",
    "a projection": r"mip|minip",
    "suppression of fat": r"stir",
    "angiography": r"tof|mra|mrv|angio|angiography|venography|pca",
    "functional imaging": r"bold|fmri|resting",
    "spectroscopy": r"spectro|spectroscopy|mrs|csi|svs|press",
    "a map or a subtraction": r"sub|subtraction|map|fieldmap|b0|b1|phase",
    "a picture": r"screen|screenshot|save|report|capture|key|dose",
    "another part of the body": r"spine|cervical|lumbar|thoracic|orbit|orbits|hws|lws|bws|neck",
}
_PD = r"pd|pdw"
_FLAIR = r"flair|darkfluid|dark-?fluid|t2flair|t2f"
_T1 = (
    r"t1|t1w|t1c|t1ce|t1gd|t1n|mprage|mp-?rage|mp2rage|bravo|fspgr|spgr|tfe|vibe|tfl3d|tfl|"
    r"3dt1|t13d|t1tfe|t1se|t1fl2d|t1tse|t1post|t1pre|t1mprage|t1km|t1kontrast"
)
_T2 = r"t2|t2w|t2tse|t2fse|3dt2|frfse|t2blade|t2propeller|ciss|t2space|t2cube"
_BEFORE = (
    r"pre|precontrast|nativ|native|nat|ohne|noncontrast|non-?contrast|unenhanced|"
    r"t1pre|t1n|nogad|without|w/?o|sans|senza|sin"
)
_AFTER = (
    r"\+c|c\+|\+gd|gd\+|\+gad|\+km|\+ce|\+|gd|gad|gado|gadolinium|gadovist|dotarem|prohance|magnevist|"
    r"clariscan|post|postcontrast|postgd|post-?gad|contrast|contraste|kontrast|km|ce|cemprage|"
    r"enhanced|t1c|t1ce|t1gd|t1post|t1km|t1kontrast|mdc|injection|inj"
)
_NOTHING = re.compile(r"\W*(none|no|n|nein|non|without|ohne|0|na|n/a|unknown)?\W*", re.IGNORECASE)
_WORDS = re.compile(r"[\s_,;:()\[\]{}|=.]+")
_OPERATION = re.compile(r"\b(post|pre)[-_\s]?(op\w*|surg\w*|rt\b|radio\w*)")


@dataclass(frozen=True)
class Proposal:
    """What a series seems to be.

    Attributes:
        sequence: one of the four, or empty.
        sure: words say so, and no time speaks against it.
        reason: for the user.
        contrast: whether words say that a T1 is after contrast (True) or before it (False).
    """

    sequence: str
    sure: bool
    reason: str
    contrast: bool | None = None


def recognize(header: Header, frame: Frame) -> Proposal:
    """Propose the sequence of a series.

    Args:
        header: of the series.
        frame: one of its slices.
    """
    words = _words(header.description)
    everything = words + _words(f"{header.protocol} {header.pulse}")
    kind = _kind_by_words(words)
    if other := _other(frame, words if kind else everything):
        return Proposal("", True, other)
    kind = kind or _kind_by_words(everything)
    timed, times = _kind_by_times(header, frame)
    if not kind and not timed:
        return Proposal("", True, f"no words or times of a sequence{times and f' ({times})'}")
    if not kind:
        return _with_contrast(timed, header, words, f"by its times alone ({times})", sure=False)
    # Not every header names an inversion time.
    if timed and timed != kind and not (kind == "flair" and timed == "t2"):
        against = f"its words say {_NAMES[kind]}, its times {_NAMES[timed]} ({times})"
        return _with_contrast(kind, header, words, against, sure=False)
    reason = f"by its words{times and f'; {times}'}"
    return _with_contrast(kind, header, words, reason, sure=True)


_NAMES = {"flair": "FLAIR", "t1": "T1", "t2": "T2"}


def _words(text: str) -> list[str]:
    text = text.lower().replace("dark fluid", "darkfluid").replace("+", " +")
    return [word for word in _WORDS.split(_OPERATION.sub(" ", text)) if word]


def _has(words: list[str], pattern: str) -> str:
    """The first word that is one of a pattern, also between hyphens, or before a number."""
    whole = re.compile(rf"(?:{pattern})\d?", re.IGNORECASE)
    for word in words:
        if any(whole.fullmatch(part) for part in (word, *re.split(r"[-/]", word))):
            return word
    return ""


def _other(frame: Frame, words: list[str]) -> str:
    """Why a series is none of the four, if so."""
    for what, pattern in _OTHER.items():
        if word := _has(words, pattern):
            return f"{what} ({word})"
    # One series may hold two echoes: proton density and T2.
    if _has(words, _PD) and not (_has(words, _T2) and (frame.echo_time or 0) >= 60):
        return "proton density"
    kinds = set(frame.image_type.upper().split())
    for what, marks in (
        ("a projection", {"PROJECTION", "MIP", "MINIP"}),
        ("a mosaic of slices", {"MOSAIC"}),
        ("a localizer", {"LOCALIZER"}),
        ("phase, not magnitude", {"P", "PHASE", "PHASE_MAP", "R", "REAL", "I", "IMAGINARY"}),
        ("a map or a subtraction", {"ADC", "FA", "SUBTRACTION", "SUB"}),
    ):
        if found := kinds & marks:
            return f"{what} (image type {min(found)})"
    return "diffusion imaging" if frame.b_value else ""


def _kind_by_words(words: list[str]) -> str:
    if _has(words, _FLAIR):
        return "t1" if _has(words, _T1) and not _has(words, _T2) else "flair"
    t1, t2 = _has(words, _T1), _has(words, _T2)
    return "" if bool(t1) == bool(t2) else "t1" if t1 else "t2"


def _kind_by_times(header: Header, frame: Frame) -> tuple[str, str]:
    """The weighting that echo, repetition and inversion time give, and these as a text."""
    echo, repetition, inversion = frame.echo_time, header.repetition_time, frame.inversion_time
    named = (("TR", repetition), ("TE", echo), ("TI", inversion))
    text = " ".join(f"{name} {value:g}" for name, value in named if value)
    kind = ""
    if echo:
        if echo >= 60 and inversion and inversion >= 1400:
            kind = "flair"
        elif echo >= 60 and not inversion and (repetition or 0) >= 1500:
            kind = "t2"
        elif echo <= 30 and (repetition or 0) <= 3500 and (not inversion or inversion <= 1400):
            kind = "t1" if repetition else ""
    return kind, text


def _with_contrast(
    kind: str, header: Header, words: list[str], reason: str, *, sure: bool
) -> Proposal:
    """Tell T1 after contrast from T1 before it."""
    if kind != "t1":
        return Proposal(kind, sure, reason)
    agent = "" if _NOTHING.fullmatch(header.contrast) else header.contrast
    words = words or _words(header.protocol)
    before, after = _has(words, _BEFORE), _has(words, _AFTER)
    if before:  # `non contrast`, `ohne km`: the other word belongs to it
        return Proposal("t1", sure, f"{reason}; before contrast ({before})", False)
    if after:
        return Proposal("t1ce", sure, f"{reason}; after contrast ({after})", True)
    if agent:
        return Proposal("t1ce", sure, f"{reason}; after contrast (the header names an agent)")
    return Proposal("t1", sure, f"{reason}; contrast is not mentioned")
