"""The features that the bundles use: the user's folder, or generated ones.

Measured on the test part of the generated sets (seed 0; 375 to 450 samples, so give or
take 0.02 to 0.04): accuracy for food101 and iemocap, Pearson correlation for mosi. "linear" reads
the mean over the steps (logistic or ridge regression); "net" is a transformer of width 40, 4 layers
per modality and 2 for fusion, after 12 epochs of joint training.

             text          image         audio         vision        all
             linear  net   linear  net   linear  net   linear  net   linear  net
    food101   .86    .83    .55    .65    -      -      -      -      .88    .86
    iemocap   .64    .63    -      -      .44    .54    .43    .55    .71    .74
    mosi      .68    .65    -      -      .39    .52    .41    .49    .72    .69
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import one_at_a_time
from ..errors import InputError, some
from ..split_file import PARTS
from .feature_set import FeatureSet, open_feature_set, write_feature_set_header, write_samples
from .file import SUFFIX, index_of, write_features
from .generated_signals import Modality, Model, draw_meanings, draw_modality, draw_targets
from .header import HEADER, read_header
from .table import SAMPLES

GENERATOR_VERSION = 2  # the values of version 1, in files of another format
GENERATED = "generated features (no real samples)"
SHARES = (0.6, 0.15, 0.25)  # of train, val and test
DECIMALS = 3  # so that the last bit of a sum, which may differ between machines, is not kept
FEWEST = 100

MODELS: Mapping[str, Model] = {
    "food101": Model(
        {
            "image": Modality(32, (8, 16), open=2.0, hidden=2.4, cues=4, noise=0.3),
            "text": Modality(32, (4, 20), open=3.6),
        },
        doubt=0.2,
        classes=tuple(f"dish_{number:02}" for number in range(10)),
        priors=(0.1,) * 10,
    ),
    "iemocap": Model(
        {
            "text": Modality(32, (4, 16), open=1.7),
            "audio": Modality(24, (10, 20), open=0.7, hidden=1.0, cues=4, noise=0.3),
            "vision": Modality(24, (6, 15), open=0.7, hidden=0.9, cues=4, noise=0.3),
        },
        doubt=0.3,
        classes=("happy", "angry", "sad", "neutral"),
        priors=(0.2, 0.25, 0.25, 0.3),
    ),
    "mosi": Model(
        {
            "text": Modality(32, (4, 16), open=1.2),
            "audio": Modality(24, (10, 20), open=0.45, hidden=0.6, cues=4, noise=0.3),
            "vision": Modality(24, (6, 15), open=0.45, hidden=0.6, cues=4, noise=0.3),
        },
        doubt=0.5,
    ),
}
KINDS = tuple(MODELS)
SAMPLES_OF = {"food101": 1800, "iemocap": 1600, "mosi": 1600}


def generate_feature_set(
    kind: str, folder: str | Path, *, samples: int | None = None, seed: int = 0
) -> Path:
    """Make a feature set in which text is easy to learn and the other modalities are not.

    The model is in :mod:`.generated_signals`. The same arguments give the same files. A finished
    folder returns at once, an interrupted one is made again.

    Args:
        kind: "food101" (image, text; 10 classes), "iemocap" (text, audio, vision; 4 classes) or
            "mosi" (text, audio, vision; values from -3 to 3).
        folder: where it goes; made if missing.
        samples: how many, at least 100; by default 1,600 to 1,800.
        seed: of the draw; other seeds are other samples of another world, in which the features
            point elsewhere.

    Returns:
        The folder.

    Raises:
        InputError: a bad argument, a folder that holds anything else, or one that cannot be
            written.
    """
    folder = Path(folder)
    model = _model(kind)
    count = SAMPLES_OF[kind] if samples is None else samples
    if count < FEWEST or seed < 0:
        raise InputError(
            f"samples is {count} and seed {seed}; expected at least {FEWEST} samples and a seed of "
            "0 or more"
        )
    about = {"generator": GENERATOR_VERSION, "kind": kind, "samples": count, "seed": seed}
    _refuse_other_files(folder, model)
    if not _finished(folder, model, about):
        # The header is written last: without it the folder is no feature set.
        (folder / HEADER).unlink(missing_ok=True)
        _write(folder, model, about)
    return folder


def open_features(
    dataset_dir: str | Path | None,
    *,
    kind: str,
    modalities: Sequence[str] | None = None,
    task: str | None = None,
    labels: str = "required",
    cache_dir: str | Path | None = None,
) -> FeatureSet:
    """Open a folder of features, or generate the set of a bundle when there is no folder.

    Args:
        dataset_dir: a feature set; None for the generated one.
        kind: see :func:`generate_feature_set`.
        modalities: see :func:`~.feature_set.open_feature_set`, as are the next two.
        task: likewise.
        labels: likewise.
        cache_dir: where the generated features are kept, :func:`~.cache.default_cache` when not
            given.

    Raises:
        InputError: the folder cannot be used.
    """
    _model(kind)
    if dataset_dir is None:
        with one_at_a_time(cache_dir) as cache:
            folder = cache / f"generated-{GENERATOR_VERSION}" / kind
            dataset_dir = generate_feature_set(kind, folder)
    return open_feature_set(dataset_dir, modalities=modalities, task=task, labels=labels)


def _model(kind: str) -> Model:
    if kind not in MODELS:
        raise InputError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    return MODELS[kind]


def _refuse_other_files(folder: Path, model: Model) -> None:
    paths = [folder / f"{name}{SUFFIX}" for name in model.modalities]
    ours = {HEADER, SAMPLES, *(path.name for path in [*paths, *map(index_of, paths)])}
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder; give another one for the generated features")
    found = [path.name for path in sorted(folder.glob("*")) if path.name[0] != "."]
    others = [name for name in found if name not in ours]
    if HEADER in found:
        try:
            others += [] if read_header(folder)["generated"] else [HEADER]
        except InputError:
            others.append(HEADER)
    if others:
        raise InputError(
            f"{folder} holds {some(others)}, which was not generated; give another folder, nothing "
            "there was changed"
        )


def _finished(folder: Path, model: Model, about: Mapping[str, Any]) -> bool:
    """Whether the folder holds just what would be made."""
    try:
        feature_set = open_feature_set(folder)
    except InputError:
        return False
    files = feature_set.files
    return list(files) == list(model.modalities) and all(
        file.about == _about(name, about) for name, file in files.items()
    )


def _about(modality: str, about: Mapping[str, Any]) -> dict[str, Any]:
    return {"source": GENERATED, "modality": modality, **about}


def _write(folder: Path, model: Model, about: Mapping[str, Any]) -> None:
    kind, count = about["kind"], about["samples"]
    root = np.random.SeedSequence((about["seed"], KINDS.index(kind)))
    draws, *modality_draws = map(np.random.default_rng, root.spawn(1 + len(model.modalities)))
    targets = draw_targets(model, count, draws)
    meanings = draw_meanings(model, targets, draws)
    ids = [f"{kind}_{number:05}" for number in range(count)]
    for (name, modality), own in zip(model.modalities.items(), modality_draws, strict=True):
        steps = draw_modality(modality, meanings, own)
        values = (np.round(array, DECIMALS) + 0.0 for array in steps)
        path = folder / f"{name}{SUFFIX}"
        write_features(path, zip(ids, values, strict=True), about=_about(name, about))
    places = draws.permutation(count) / count
    parts = np.searchsorted(np.cumsum(SHARES)[:-1], places, side="right")
    labels = targets if model.classes is None else [model.classes[int(y)] for y in targets]
    write_samples(
        folder,
        (
            {"id": name, "label": label, "split": PARTS[part]}
            for name, label, part in zip(ids, labels, parts, strict=True)
        ),
    )
    write_feature_set_header(
        folder,
        name=f"{GENERATED}: {kind}",
        task="regression" if model.classes is None else "classification",
        classes=model.classes,
        generated=True,
        source="drawn at random by cggm.data.features.generated; no sample is real",
        terms="free of rights",
        description="results say whether a program runs and learns, and nothing about real data",
        modalities=list(model.modalities),
    )
