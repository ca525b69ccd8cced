"""Features and networks that fit: standardization, and what a checkpoint was built as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...data.errors import InputError, some
from ...data.features.dataset import FeatureDataset, feature_statistics
from ...data.features.feature_set import SOURCE_KEYS, FeatureSet
from ...data.features.generated import open_features
from ...data.features.splits import split_features
from ..handlers import checkpoint_file

_NEEDED = ("modalities", "widths", "classes")


def standardized(network: nn.Module, dataset: FeatureDataset) -> nn.Module:
    """Give the encoders of a network the mean and deviation of their training inputs.

    They are part of the weights, so that evaluation and inference need no training data.

    Args:
        network: its ``encoders`` have ``standardize(mean, std)``.
        dataset: the training samples.

    Returns:
        The network.
    """
    encoders: Any = network.encoders
    for name, (mean, std) in feature_statistics(dataset).items():
        encoders[name].standardize(torch.as_tensor(mean), torch.as_tensor(std))
    return network


def read_description(path: str | Path) -> dict[str, Any]:
    """Say what the network in a checkpoint was built as, so that nobody has to repeat it.

    Args:
        path: a ``last.pt``, or a ``model.pt`` with its ``model.json`` beside it.

    Raises:
        InputError: there is no checkpoint, or nothing says how its network was built.
    """
    return checkpoint_file.read_description(path, _NEEDED)


def trained_features(
    trained: Mapping[str, Any],
    dataset_dir: str | Path | None,
    *,
    kind: str,
    modalities: Sequence[str] | None = None,
    labels: str = "required",
    cache_dir: str | Path | None = None,
) -> FeatureSet:
    """Open features for a trained network and refuse those that it was not made for.

    Args:
        trained: from :func:`read_description`.
        dataset_dir: see :func:`cggm.data.open_features`, as are ``kind`` and ``cache_dir``.
        kind: likewise.
        modalities: those to use, all that the network was trained with when not given.
        labels: "required" or "optional".
        cache_dir: likewise.

    Raises:
        InputError: a modality, a width or the classes are not those of the training.
    """
    known = list(trained["modalities"])
    chosen = known if modalities is None else list(modalities)
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise InputError(
            f"the network has no modality {unknown[0]!r}: it was trained with {known}; pass "
            "--modalities with some of these"
            if unknown
            else f"--modalities is empty; pass some of {known}"
        )
    classes = trained["classes"]
    features = open_features(
        dataset_dir,
        kind=kind,
        modalities=chosen,
        task="regression" if classes is None else "classification",
        labels=labels,
        cache_dir=cache_dir,
    )
    for name, width in features.widths.items():
        if width != trained["widths"][name]:
            raise InputError(
                f"{features.files[name].path} holds vectors of width {width}, the network was "
                f"trained with {trained['widths'][name]}: extract them with the model that the "
                "training features came from"
            )
    _check_sources(trained.get("sources") or {}, features)
    if features.classes is not None and features.classes != classes:
        raise InputError(
            f"{features.folder} has the classes {some(features.classes, 6)}, the network was "
            f"trained for {some(classes or ['none'], 6)}: give data with the same classes in the "
            "same order"
        )
    return features


def trained_max_length(trained: Mapping[str, Any], modalities: Sequence[str]) -> Any:
    """The most steps of a sequence that the network was trained with, for these modalities."""
    length = trained.get("max_length")
    if isinstance(length, Mapping):
        length = {name: length[name] for name in modalities if name in length} or None
    return length


def _check_sources(trained: Mapping[str, Mapping[str, Any]], features: FeatureSet) -> None:
    """Features of the same width from another encoder mean something else."""
    for name, source in features.sources.items():
        known = trained.get(name, source)
        for key in SOURCE_KEYS:
            if known.get(key) != source.get(key):
                raise InputError(
                    f"{features.files[name].path} has features with {key} {source.get(key)!r}, the "
                    f"network was trained on those with {known.get(key)!r}: extract them as for "
                    "training"
                )


def samples_to_predict(
    features: FeatureSet, dataset_dir: str | Path | None, output_dir: str | Path
) -> list[str]:
    """Name the samples to predict: all of a folder, or the generated ones kept for testing."""
    if dataset_dir is None:
        return split_features(features, output_dir)["test"]
    return list(features.ids)
