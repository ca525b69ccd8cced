"""A stand-in data set as a folder of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ....data.cache import default_cache
from ....data.errors import InputError, nearest
from ....data.features.feature_set import open_feature_set, write_feature_set_header, write_samples
from ....data.features.file import SUFFIX, write_features
from ....data.features.header import HEADER, read_header
from ...extraction import Encoder, Options, Plan, Sample, extract, load_encoder
from . import StandIn, open_stand_in
from .encoders import audio_model, image_weights, text_model

# Kept small, so that a transformer of width 40 passes over a set in seconds on two cores.
GRID = 3  # places of an image, in each direction, of the 7 x 7 of EfficientNet
WINDOW = 5  # steps of Whisper, of 20 ms, that become one
MOST_SECONDS = 4.0
MOST_TOKENS = 48
DTYPE = "float16"
# Part of what dataset.json says, so that sets that were made in another way are not reused.
RECIPE = "recipe 1"


def prepare(
    name: str,
    output: str | Path,
    *,
    cache_dir: str | Path | None = None,
    modalities: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Make the feature set of a stand-in, or find it made.

    A run that was killed goes on where it stopped.

    Args:
        name: one of :data:`~cggm.pipelines.research.stand_ins.CATALOGUE`.
        output: the feature set becomes the folder of this name in it.
        cache_dir: where packages, their files and encoders are kept; ``CGGM_CACHE`` or the user's
            cache when not given.
        modalities: which to make; None is all but the optional ones.
        overwrite: replace a feature set, or features, that were made in another way.

    Returns:
        The folder.

    Raises:
        InputError: a package is not to be had, a modality is not known, the folder holds something
            else, or a file of a sample cannot be used.
    """
    cache = default_cache() if cache_dir is None else Path(cache_dir)
    stand_in, root = open_stand_in(name, cache)
    chosen = _chosen(name, stand_in, modalities)
    folder = Path(output) / name
    header = _header(stand_in, chosen)
    if not overwrite and _is_made(folder, header):
        return folder
    # It is no feature set from here on until all of it is there.
    (folder / HEADER).unlink(missing_ok=True)
    for modality in chosen:
        if modality in stand_in.kinds:
            plan = Plan(dtype=DTYPE, origin=stand_in.name, overwrite=overwrite)
            _extract(stand_in, modality, root, folder, cache, plan)
        else:
            vectors = stand_in.vectors[modality]
            rows = [(row["id"], vectors[row["id"]]) for row in stand_in.rows]
            about = {"kind": "vectors", "source": stand_in.source}
            write_features(folder / f"{modality}{SUFFIX}", rows, about=about)
    columns = ("id", "label", "split", "group")
    write_samples(folder, [{key: row[key] for key in columns} for row in stand_in.rows])
    # Last: a folder without it is no feature set yet.
    write_feature_set_header(folder, **header)
    return folder


class Shortened:
    """An encoder whose sequences are made shorter, see :class:`extraction.Encoder`.

    Args:
        encoder: gives the sequences.
        shorten: makes (T', D) of (T, D).
        steps: what a step is then, for the file's ``about``.
    """

    def __init__(
        self, encoder: Encoder, shorten: Callable[[np.ndarray], np.ndarray], steps: str
    ) -> None:
        self.kind = encoder.kind
        self.name = encoder.name
        self.width = encoder.width
        self.batch_size = encoder.batch_size
        self.about = encoder.about | {"steps": steps}
        self._encoder = encoder
        self._shorten = shorten

    def read(self, source: Any) -> Any:
        return self._encoder.read(source)

    def size(self, source: Any) -> float:
        return self._encoder.size(source)

    def encode(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        return [self._shorten(features) for features in self._encoder.encode(inputs)]


def grid_means(features: np.ndarray) -> np.ndarray:
    """Average the places (S * S, D) of a square map over a grid: (GRID * GRID, D)."""
    side = round(len(features) ** 0.5)
    square = torch.from_numpy(features).reshape(side, side, -1).movedim(-1, 0)
    return F.adaptive_avg_pool2d(square, GRID).flatten(1).T.numpy()


def window_means(features: np.ndarray) -> np.ndarray:
    """Average every WINDOW steps of (T, D); the last window may have fewer."""
    starts = range(0, len(features), WINDOW)
    return np.stack([features[start : start + WINDOW].mean(axis=0) for start in starts])


def packaged_encoder(kind: str, cache_dir: str | Path) -> Encoder:
    """Load the encoder for "text", "image" or "audio" that a package carries.

    Raises:
        InputError: its package is not to be had.
    """
    if kind == "text":
        return load_encoder("text", str(text_model(cache_dir)), Options(max_length=MOST_TOKENS))
    if kind == "image":
        weights = str(image_weights(cache_dir))
        options = Options(pooling="tokens", weights=weights, mean=(0.5,), std=(0.5,))
        encoder = load_encoder("image", "timm:tf_efficientnet_lite0", options)
        return Shortened(encoder, grid_means, f"means over a {GRID} x {GRID} grid")
    options = Options(max_seconds=MOST_SECONDS)
    encoder = load_encoder("audio", str(audio_model(cache_dir)), options)
    return Shortened(encoder, window_means, f"means of {WINDOW} steps of 20 ms")


def _extract(
    stand_in: StandIn, modality: str, root: Path, folder: Path, cache: Path, plan: Plan
) -> None:
    kind = stand_in.kinds[modality]
    shown = [(row["id"], row[modality]) for row in stand_in.rows]
    samples = [
        Sample(name, text if kind == "text" else root / text, shown=text) for name, text in shown
    ]
    result = extract(samples, packaged_encoder(kind, cache), folder / f"{modality}{SUFFIX}", plan)
    if result.left_out:
        name, reason = result.left_out[0]
        raise InputError(
            f"{len(result.left_out)} samples of {stand_in.name} have no usable {modality}, such as "
            f"{name} ({reason}); delete {root} and start again"
        )


def _chosen(name: str, stand_in: StandIn, modalities: Sequence[str] | None) -> list[str]:
    if not modalities:
        return [each for each in stand_in.modalities if each not in stand_in.optional]
    names = stand_in.modalities
    for modality in modalities:
        if modality not in names:
            hint = nearest(modality, names)
            raise InputError(f"{name} has no modality {modality}{hint}; it has {', '.join(names)}")
    return list(modalities)


def _header(stand_in: StandIn, modalities: Sequence[str]) -> dict[str, Any]:
    left_out = [f"{count} {reason}" for reason, count in stand_in.left_out.items() if count]
    without = f" Left out: {'; '.join(left_out)}." if left_out else ""
    return {
        "name": stand_in.name,
        "task": stand_in.task,
        "classes": stand_in.classes,
        "source": stand_in.source,
        "terms": stand_in.terms,
        "description": f"{stand_in.description}{without} Made by {RECIPE}.",
        "modalities": list(modalities),
    }


def _is_made(folder: Path, header: dict[str, Any]) -> bool:
    """Whether the folder holds just this set.

    Raises:
        InputError: it holds another one, which is not ours to replace.
    """
    if not (folder / HEADER).exists():
        return False
    old = read_header(folder)
    differs = [key for key, value in header.items() if old.get(key) != value]
    if differs:
        raise InputError(
            f"{folder} holds another feature set (other {' and '.join(differs)}); choose another "
            "--output, or --overwrite to replace it"
        )
    open_feature_set(folder)
    return True
