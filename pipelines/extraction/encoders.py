"""The encoder that stands behind a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...data.errors import InputError
from .encoder import Encoder
from .media import needs
from .options import MODELS, Options

if TYPE_CHECKING:
    from .pictures import PictureEncoder


def load_encoder(kind: str, model: str | None = None, options: Options | None = None) -> Encoder:
    """Load an encoder.

    Args:
        kind: "text", "image", "audio" or "video".
        model: a name on the Hugging Face hub, a folder, "timm:NAME" (images, clips) or
            "opensmile:SET" (recordings); None is the default of the kind.
        options: settings; None takes their defaults.

    Raises:
        InputError: the model cannot be found, loaded or used for this kind, or a setting is wrong.
    """
    options = options or Options()
    options.check(kind)
    needs(kind)
    model = model or MODELS[kind]
    library, _, name = model.partition(":") if not Path(model).exists() else ("", "", model)
    _check_library(library if name else "", kind, model, options)
    encoder = _load(kind, library if name else "", name or model, options)
    encoder.about["width"] = encoder.width
    return encoder


def _load(kind: str, library: str, name: str, options: Options) -> Encoder:
    if kind == "video":
        from .video import VideoEncoder

        return VideoEncoder(_load_image("video", library, name, options), options)
    if kind == "image":
        return _load_image("image", library, name, options)
    if kind == "text":
        from .text import TextEncoder

        return TextEncoder(name, options)
    if library == "opensmile":
        from .acoustic import AcousticEncoder

        return AcousticEncoder(name, options)
    from .audio import load_audio_encoder

    return load_audio_encoder(name, options)


def _load_image(kind: str, library: str, name: str, options: Options) -> PictureEncoder:
    if library == "timm":
        from .timm_images import TimmEncoder

        return TimmEncoder(name, options, kind)
    from .image import ImageEncoder

    return ImageEncoder(name, options, kind)


def _check_library(library: str, kind: str, model: str, options: Options) -> None:
    allowed = {"image": "timm", "video": "timm", "audio": "opensmile"}.get(kind)
    if library and library != allowed:
        raise InputError(
            f"the model {model!r} cannot be used for {kind}: a name before the colon can be "
            "'timm' for image and video, 'opensmile' for audio"
        )
    if options.weights is not None and library != "timm":
        raise InputError("--weights is for timm models; pass the folder of others as --model")
    if (options.mean or options.std) and kind not in ("image", "video"):
        raise InputError(f"--mean and --std are for images and clips, not for {kind}")
