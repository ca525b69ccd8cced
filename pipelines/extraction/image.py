"""Vision models of transformers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import transformers
from PIL import Image
from torch import Tensor

from ...data.errors import InputError
from .hub import find_model
from .media import first_line
from .network import Network, check_class_token, load_module, prefix_of
from .options import Options
from .pictures import PictureEncoder

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


class ImageEncoder(PictureEncoder):
    """ViT or another encoder of images.

    Features are the last hidden states of the patches, or of the places of a convolutional map.
    """

    def __init__(self, model: str, options: Options, kind: str = "image") -> None:
        folder = find_model(model, options.revision)
        module, config = load_module(folder.path, "image")
        self.prefix = prefix_of(module)
        check_class_token(options.pooling_of(kind), self.prefix, folder.name)
        self.processor = _load_processor(folder.path, config, options)
        network = Network(module, options.device, options.precision)
        versions = {"transformers": transformers.__version__}
        super().__init__(kind, folder.name, folder.revision, network, options, versions)
        self.about["mean"] = list(map(float, self.processor.image_mean))
        self.about["std"] = list(map(float, self.processor.image_std))
        self.try_out()

    def prepare(self, image: Image.Image) -> Tensor:
        """See :class:`.PictureEncoder`."""
        return self.processor(images=image, return_tensors="pt")["pixel_values"][0]


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
