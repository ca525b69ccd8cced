"""What does a vision model of transformers make of images?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from ...data.errors import InputError
from .encoders import common_about, probe
from .hub import find_model
from .media import first_line, read_image
from .network import Network, check_class_token, flat, load_module, pooled, prefix_of, stacked
from .options import Options

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


class ImageEncoder:
    """ViT or another encoder of images, see :class:`encoders.Encoder`.

    Features are the last hidden states of the patches, or of the places of a convolutional map.
    """

    def __init__(self, model: str, options: Options, kind: str = "image") -> None:
        found = find_model(model, options.revision)
        module, config = load_module(found.path, "image")
        self.kind = kind
        self.name = found.name
        self.pooling = options.pooling_of(kind)
        self.batch_size = options.batch_size_of(kind)
        self.prefix = prefix_of(module)
        check_class_token(self.pooling, self.prefix, self.name)
        self.processor = _load_processor(found.path, config, options)
        self.network = Network(module, options.device, options.precision)
        versions = {"transformers": transformers.__version__, "torch": torch.__version__}
        self.about: dict[str, Any] = common_about(kind, found.name, found.revision, versions) | {
            "pooling": self.pooling,
            "mean": list(map(float, self.processor.image_mean)),
            "std": list(map(float, self.processor.image_std)),
            "precision": self.network.precision,
            "device": self.network.device.type,
        }
        self.width = probe(self, lambda: self.prepare(Image.new("RGB", (96, 64))))

    def read(self, source: Any) -> Tensor:
        return self.prepare(read_image(Path(source)))

    def prepare(self, image: Image.Image) -> Tensor:
        """Give the pixels (3, H, W) that the network takes."""
        return self.processor(images=image, return_tensors="pt")["pixel_values"][0]

    def size(self, source: Any) -> float:
        return 0.0

    def encode(self, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        # Batches of one: for models whose inputs differ in shape.
        alike = len({value.shape for value in inputs}) == 1
        batches = stacked(inputs, self.batch_size if alike else 1)
        hidden = [flat(self.network(pixel_values=batch)) for batch in batches]
        return [pooled(one, self.pooling, self.prefix).numpy() for each in hidden for one in each]


def _load_processor(folder: Path, config: Any, options: Options) -> Any:
    if any((folder / name).is_file() for name in _PROCESSOR_FILES):
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # a package it needs, damaged files
            raise InputError(
                f"the image processor in {folder} cannot be loaded ({first_line(error)})"
            ) from error
    else:
        processor = _plain_processor(folder, config, options)
    # Otherwise a mean and deviation would be there but not used.
    if options.mean or options.std or getattr(processor, "image_mean", None) is None:
        processor.do_normalize = True
        processor.image_mean = _three(options.mean or getattr(processor, "image_mean", None) or 0)
        processor.image_std = _three(options.std or getattr(processor, "image_std", None) or 1)
    return processor


def _plain_processor(folder: Path, config: Any, options: Options) -> Any:
    config = getattr(config, "vision_config", config)
    size = getattr(config, "image_size", None) or 224
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    mean, std = _three(options.mean or 0.5), _three(options.std or 0.5)
    warnings.warn(
        f"{folder.name} has no preprocessor_config.json: images are scaled to {height} x {width}, "
        f"with mean {mean[0]} and deviation {std[0]}",
        stacklevel=2,
    )
    return transformers.ViTImageProcessor(
        size={"height": height, "width": width}, image_mean=mean, image_std=std
    )


def _three(values: Any) -> list[float]:
    values = [values] if isinstance(values, (int, float)) else list(values)
    return values * 3 if len(values) == 1 else values
