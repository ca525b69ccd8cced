"""The model by which the generated features are drawn.

1. A target y: a class, each with its share in `priors`; or a sentiment z = 1.6 N(0, 1), clipped to
   [-3, 3] and rounded to multiples of 0.2, as the mean of some raters would be.
2. A meaning q in R^K that all modalities share: q = onehot(y) + `doubt` * N(0, I) for K classes,
   q = z / 1.6 + `doubt` * N(0, 1) for a sentiment (K = 1). The doubt limits what all of them
   together can tell.
3. Evidence. Each modality has up to two, "open" and "hidden": e = strength * q + N(0, I), the noise
   independent of all else. So each modality tells something that the others do not.
4. Steps. A sequence has T steps, T uniform within `steps`, each a vector x in R^D:
   x = e_open A / 2 + N(0, noise^2 I): the open evidence is in every step, so that a linear reader
   of the mean over the steps finds it. On top of that, `cues` steps at random positions carry the
   hidden evidence and the other steps carry distractors d, drawn as the evidence of another sample
   would be: x += s (e_hidden B + b) + m in a cue, x += s' d B + s'' b in a distractor. The signs
   s, s', s'' are random and independent. A reader of the hidden evidence must find the mark m,
   learn that the sign is in b, and multiply: the mean over the steps tells nothing about it.
5. The rows of A and B, b and m are scaled orthonormal directions of R^D, other ones per modality.

Text has open evidence only, and the strongest; the others have mostly hidden evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

SPREAD = 1.6  # of a sentiment
LIMIT, RASTER = 3.0, 0.2
OPEN, CONTENT, SIGN, MARK = 0.5, 1.0, 2.0, 3.0  # lengths of the directions


@dataclass(frozen=True)
class Modality:
    """How one modality shows the target.

    Attributes:
        width: D.
        steps: fewest and most steps T.
        open: strength of the evidence that is in every step.
        hidden: strength of the evidence that is in the cues; 0 for no cues.
        cues: steps with the hidden evidence.
        flips: share of the signs that are negative.
        noise: standard deviation of each number of a step.
    """

    width: int
    steps: tuple[int, int]
    open: float
    hidden: float = 0.0
    cues: int = 2
    flips: float = 0.5
    noise: float = 0.5


@dataclass(frozen=True)
class Model:
    """What is generated: the target and the modalities.

    Attributes:
        modalities: by name.
        classes: names; None for a sentiment.
        priors: share of each class; they add up to 1.
        doubt: standard deviation of what no modality can tell.
    """

    modalities: Mapping[str, Modality]
    doubt: float
    classes: tuple[str, ...] | None = None
    priors: tuple[float, ...] | None = None


def draw_targets(model: Model, samples: int, draws: np.random.Generator) -> Array:
    """Draw class numbers or sentiments, shape (samples,)."""
    if model.classes is not None:
        places = (draws.permutation(samples) + 0.5) / samples
        return np.searchsorted(np.cumsum(model.priors or ())[:-1], places).astype(float)
    raw = np.clip(draws.normal(0, SPREAD, samples), -LIMIT, LIMIT)
    return np.round(np.round(raw / RASTER) * RASTER, 1) + 0.0


def draw_meanings(model: Model, targets: Array, draws: np.random.Generator) -> Array:
    """Draw what the modalities share, (samples, K), K being 1 for a sentiment."""
    if model.classes is None:
        clear = targets[:, None] / SPREAD
    else:
        clear = np.eye(len(model.classes))[targets.astype(int)]
    return clear + model.doubt * draws.normal(size=clear.shape)


def draw_modality(
    modality: Modality, meanings: Array, draws: np.random.Generator
) -> Iterator[Array]:
    """Draw the steps of each sample, (T, D), in the order of `meanings`."""
    size = meanings.shape[1]
    basis = np.linalg.qr(draws.normal(size=(modality.width, 2 * size + 2)))[0].T
    for meaning in meanings:
        steps = int(draws.integers(modality.steps[0], modality.steps[1] + 1))
        evidence = modality.open * meaning + draws.normal(size=size)
        values = draws.normal(0, modality.noise, (steps, modality.width))
        values += OPEN * evidence @ basis[:size]
        if modality.hidden:
            values += _cues(modality, meaning, meanings, steps, draws) @ basis[size:]
        yield values


def _cues(
    modality: Modality, meaning: Array, meanings: Array, steps: int, draws: np.random.Generator
) -> Array:
    """Content, sign and mark of each step, (T, K + 2): cues and distractors."""
    size = len(meaning)
    chosen = np.isin(np.arange(steps), draws.permutation(steps)[: modality.cues])[:, None]
    others = meanings[draws.integers(0, len(meanings), steps)]
    distractors = modality.hidden * others + draws.normal(size=(steps, size))
    evidence = modality.hidden * meaning + draws.normal(size=size)
    signs, other_signs = np.where(draws.random((2, steps, 1)) < modality.flips, -1.0, 1.0)
    content = signs * np.where(chosen, evidence, distractors)
    shown = np.where(chosen, signs, other_signs)
    return np.hstack([CONTENT * content, SIGN * shown, MARK * chosen.astype(float)])
