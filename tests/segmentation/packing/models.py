"""Small networks with random weights in files as training leaves them, and their packed bundle."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from cggm.bundles import path
from cggm.data.brats.cases import SEQUENCES
from cggm.pipelines.handlers.checkpoint_file import save
from cggm.pipelines.segmentation.packing.metadata import Release
from cggm.pipelines.segmentation.packing.tree import pack, read_model
from cggm.pipelines.segmentation.trained import network_of

from ...data.brains import AFFINE, SHAPE, ball

SETTINGS: dict[str, Any] = {
    "sequences": [*SEQUENCES],
    "encoder": "tu-test_resnet",
    "channels": 16,
    "rates": [1, 2, 3],
    "architecture": "deeplabv3plus",
    "patch_size": None,
    "late_fusion": None,
    "outputs": "classes",
    "neighbors": 0,
}
VOLUMES = {"architecture": "segresnet", "patch_size": 16, "channels": 8}


def write_model(folder: Path, *, seed: int = 0, smallest_et: float = 0.0, **settings: Any) -> Path:
    """A folder with `models/model.pt` and `model.json`, the weights drawn at random."""
    told = SETTINGS | settings
    torch.manual_seed(seed)
    network = network_of(told)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))  # running statistics, too
    save(network.state_dict(), folder / "models" / "model.pt")
    dropout = {"modality_dropout": dict.fromkeys(told["sequences"], 0.5)}
    description = told | dropout | {"trained_on": ["0" * 12], "smallest_et": smallest_et}
    (folder / "models" / "model.json").write_text(json.dumps(description))
    return folder


def packed(model: Path, folder: Path) -> Path:
    """Its bundle."""
    release = Release("noise of a test", "none: nobody needs them")
    pack(read_model(model), folder, path("brats"), release)
    return folder


def images(seed: int = 0) -> dict[str, np.ndarray]:
    """Noise in a ball, one image per sequence; a speck lies beside it."""
    draws = np.random.default_rng(seed)
    brain = ball((12, 14, 6), (9, 11, 5))
    brain[1, 1, 1] = True
    return {
        name: (draws.normal(500, 100, SHAPE).clip(1, 1000) * brain).astype(np.float32)
        for name in SEQUENCES
    }


def write_4d(path: Path, channels: dict[str, np.ndarray], affine: np.ndarray = AFFINE) -> Path:
    """One file with a volume per sequence; zeros for those that are not given."""
    empty = np.zeros(SHAPE, np.float32)
    stack = np.stack([channels.get(name, empty) for name in SEQUENCES], axis=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(stack, affine), path)
    return path
