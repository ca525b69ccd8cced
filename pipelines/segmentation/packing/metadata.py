"""The metadata of a packed bundle, made from its network and from what it was measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..outputs import OUTPUTS, told_classes
from ..reliability import joined, measured_regions

_PACKAGES = ("cggm", "nibabel", "pytorch-ignite", "segmentation-models-pytorch", "timm")
_NAMES = ("background", "necrotic core", "edema", "enhancing tumor", "resection cavity")
_REGION_NAMES = ("whole tumor", "tumor core", "enhancing tumor")


@dataclass(frozen=True)
class Release:
    """What only the packer knows.

    Attributes:
        data: what the network was trained on.
        weights_license: of the weights.
        version: of the bundle.
    """

    data: str
    weights_license: str
    version: str = "0.1.0"


def metadata(
    base: Mapping[str, Any],
    settings: Mapping[str, Any],
    table: Mapping[str, Any],
    release: Release,
) -> dict[str, Any]:
    """Fill in the metadata of MONAI's bundle specification.

    Args:
        base: those of the bundle that trains such networks.
        settings: of the network, see :func:`.complete_settings`.
        table: accuracy of every subset, or {}.
        release: see :class:`Release`.
    """
    names = ", ".join(settings["sequences"])
    return {
        **base,
        "version": release.version,
        "changelog": {release.version: f"packed by cggm {version('cggm')}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in _PACKAGES},
        "description": f"Segments gliomas in MRI ({names}; any of them may be absent), with an "
        f"encoder per sequence ({settings['architecture']}).",
        "data_source": release.data,
        "image_classes": f"one channel per sequence: {names}; a channel of zeros is absent; "
        "skull-stripped, z-scored over the brain",
        "label_classes": "values of a mask: "
        + ", ".join(f"{value} {name}" for value, name in enumerate(_classes(settings["outputs"]))),
        "pred_classes": _predictions(settings["outputs"]),
        "eval_metrics": _metrics(table, joined(settings["sequences"])),
        "network_data_format": {
            "inputs": {"image": _input(settings)},
            "outputs": {"pred": _output(settings)},
        },
    }


def _classes(outputs: str) -> Sequence[str]:
    """What the values of a mask mean."""
    return _NAMES[: len(told_classes(outputs))]


def _predictions(outputs: str) -> str:
    names = _REGION_NAMES if outputs == "regions" else _classes(outputs)
    return f"{len(names)} channels of logits: {', '.join(names)}; channel_def names mask values"


def _metrics(table: Mapping[str, Any], subset: str) -> dict[str, float]:
    """Dice of all sequences, by a key that says what it is."""
    row = next((row for row in table.get("subsets", ()) if row["sequences"] == subset), None)
    if row is None:
        return {}
    return {
        f"mean_volumetric_dice_percent_{region}": row[f"{region}_dice"]
        for region in measured_regions(row)
    }


def _shape(settings: Mapping[str, Any]) -> list[str]:
    return ["8*n"] * 3 if settings["patch_size"] is not None else ["16*n"] * 2


def _input(settings: Mapping[str, Any]) -> dict[str, Any]:
    around = range(-settings["neighbors"], settings["neighbors"] + 1)
    channels = [
        f"{name}, slice {offset:+d}" if len(around) > 1 else name
        for name in settings["sequences"]
        for offset in around
    ]
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": len(channels),
        "spatial_shape": _shape(settings),
        "dtype": "float32",
        "value_range": [-10, 10],
        "is_patch_data": settings["patch_size"] is not None,
        "channel_def": {str(i): name for i, name in enumerate(channels)},
    }


def _output(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "image",
        "format": "labels",
        "num_channels": OUTPUTS[settings["outputs"]],
        "spatial_shape": _shape(settings),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": settings["patch_size"] is not None,
        # Of regions, too: MONAI Label takes from here what the values of a mask mean.
        "channel_def": {str(i): name for i, name in enumerate(_classes(settings["outputs"]))},
    }
