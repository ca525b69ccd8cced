"""The findings in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable

from ..report.statistics import Difference
from .decide import Alternative, Findings, Modality
from .methods import DROPOUT
from .plan import ALONE, DROPOUT_RATE, RATE, Variant
from .samples import Samples

FIGURES = {
    "classification": "percent of accuracy",
    "regression": "100 times R squared",
    "segmentation": "percent of Dice, the mean of necrotic core, edema and enhancing tumor over "
    "all pixels",
}


def headline(found: Findings) -> str:
    """The advice in a sentence."""
    best = found.advised
    if best is not None:
        return f"{_what(best.variant)}: {_gained(best)}."
    enough = "Joint training is enough here: nothing that was tried is shown to be better."
    if found.verdict == "joint":
        return enough
    return (
        "Keep joint training: nothing that was tried is shown to be better, but these data cannot "
        f"tell differences below about {found.half_width:.0f} points."
    )


def sentences(samples: Samples, found: Findings) -> list[str]:
    """What was found, most important first."""
    return [
        _imbalance(found),
        *(_told(m, found) for m in found.modalities),
        _joint(found),
        *_rates(found),
        *_methods(found),
        *_precision(found),
        _basis(samples, found),
    ]


def command_for(variant: Variant, task: str) -> str:
    """What to pass to `cggm train` of a bundle, which has learning rates of its own."""
    if variant.kind == ALONE:
        names = "sequences" if task == "segmentation" else "modalities"
        return f'--{names} "[{variant.modality!r}]" --method joint'
    if variant.kind == RATE:
        factors = f"{{{variant.modality!r}: {variant.factor:.3g}}}"
        return f'--method mslr --methods#mslr#strategy keep --methods#mslr#factors "{factors}"'
    if variant.name == DROPOUT:
        return f"--method joint --modality_dropout {DROPOUT_RATE:g}"
    return f"--method {variant.method}"


def interval(of: Difference) -> str:
    """A mean and its interval, with signs."""
    return f"{of.mean:+.1f} [{of.low:+.1f}, {of.high:+.1f}]"


def _imbalance(found: Findings) -> str:
    short = [modality.name for modality in found.modalities if modality.falls_short]
    reasons = {
        "below": f"joint training is worse than {found.best} alone",
        "short": f"{_names(short)} {'learns' if len(short) == 1 else 'learn'} far less in joint "
        "training than alone",
        "rates": "another learning rate of one encoder is better",
    }
    if not found.signs:
        return "Imbalance between the modalities is not shown."
    return f"There is imbalance between the modalities: {_names(reasons[s] for s in found.signs)}."


def _told(modality: Modality, found: Findings) -> str:
    if not modality.informs:
        return (
            f"{modality.name} is not shown to tell anything: alone it reaches "
            f"{modality.alone:.1f}, guessing {found.guessing:.1f}. Ask whether it is needed at all."
        )
    fall = (
        f", {modality.shortfall.mean:.1f} points below itself"
        if modality.falls_short
        else ", about what it has alone"
        if abs(modality.shortfall.mean) < 2
        else f", a difference of {-modality.shortfall.mean:+.1f}, which is not called imbalance"
    )
    return (
        f"{modality.name} reaches {modality.alone:.1f} alone (guessing {found.guessing:.1f}); its "
        f"encoder in joint training {modality.within:.1f}{fall}."
    )


def _joint(found: Findings) -> str:
    words = (
        "worse than"
        if found.over_best.high < 0
        else "better than"
        if found.over_best.low > 0
        else "not shown to differ from"
    )
    return (
        f"Joint training reaches {found.joint:.1f}, which is {words} {found.best} alone "
        f"({interval(found.over_best)})."
    )


def _rates(found: Findings) -> list[str]:
    kept = [a for a in found.alternatives if a.variant.kind == RATE]
    better = [a for a in kept if a.helps]
    if better:
        return [
            f"Better with {_names(f'{_what(a.variant)} ({interval(a.gain)})' for a in better)}."
        ]
    return ["No encoder is shown to want another learning rate (3 times and a third were tried)."]


def _methods(found: Findings) -> list[str]:
    better = [a for a in found.methods if a.helps]
    worse = [a for a in found.methods if a.harms]
    said = [
        f"Shown to {verb} joint training: "
        f"{_names(f'{a.variant.name} ({interval(a.gain)})' for a in group)}."
        for verb, group in (("be better than", better), ("be worse than", worse))
        if group
    ]
    if not better and found.methods:
        said.append(
            f"Of {_names(a.variant.name for a in found.methods)} none is shown to be better than "
            "joint training."
        )
    return said


def _precision(found: Findings) -> list[str]:
    if not found.methods:
        return []
    return [
        f"The intervals of the methods are about ±{found.half_width:.1f} points; a gain of up to "
        f"{found.unseen:.1f} points is not excluded."
    ]


def _basis(samples: Samples, found: Findings) -> str:
    left = f" Not used: {samples.left_out}." if samples.left_out else ""
    images = any(values.ndim == 4 for values in samples.inputs.values())
    seen = "whole images" if images else "the mean of each sequence"
    if samples.task == "segmentation":
        seen = (
            f"five slices of each of {len(set(samples.groups)):,} patients, 96 mm around the tumor "
            "in pixels of 3 mm, with all sequences there"
        )
        left += (
            " How a missing sequence is borne is not judged here: for that the BraTS bundle trains "
            "with modality dropout."
        )
    return (
        f"Points are {FIGURES[samples.task]} on test samples, means over {found.divisions} "
        f"divisions of {len(samples.labels):,} samples, with small networks on {seen}: a "
        f"bundle's larger network may differ.{left}"
    )


def _what(variant: Variant) -> str:
    if variant.kind == ALONE:
        return f"Use {variant.modality} alone"
    if variant.kind == RATE:
        word = "3 times" if variant.factor > 1 else "a third of"
        return f"Train the encoder of {variant.modality} at {word} the learning rate"
    return f"Train with {variant.name}"


def _gained(best: Alternative) -> str:
    return (
        f"{best.gain.mean:.1f} points above joint training, by the interval from "
        f"{best.gain.low:.1f} to {best.gain.high:.1f}"
    )


def _names(words: Iterable[str]) -> str:
    listed = list(words)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
