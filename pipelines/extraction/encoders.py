"""What is an encoder, and which one stands behind a name?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...data.errors import InputError
from .media import first_line, needs
from .options import MODELS, Options


class Encoder(Protocol):
    """Turns inputs of one kind into sequences of vectors.

    Attributes:
        kind: "text", "image", "audio" or "video".
        name: of the model.
        width: D, of each vector.
        about: model, revision, pooling and every other setting that its features depend on.
        batch_size: samples that `encode` should get at once.
    """

    kind: str
    name: str
    width: int
    about: dict[str, Any]
    batch_size: int

    def read(self, source: Any) -> Any:
        """Read one input; may run in a thread.

        Raises:
            Unusable: with the reason, when no features can be taken from it.
        """
        ...

    def size(self, source: Any) -> float:
        """Guess how long a sequence will be, without reading it; only the order matters."""
        ...

    def encode(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Give float32 features (T, D) of each input, the same whatever else is in the batch."""
        ...


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


def _load_image(kind: str, library: str, name: str, options: Options) -> Any:
    if library == "timm":
        from .timm_encoder import TimmEncoder

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


def common_about(kind: str, name: str, revision: str, versions: dict[str, str]) -> dict[str, Any]:
    """Give what `about` holds for every encoder."""
    return {"kind": kind, "model": name, "revision": revision, "versions": versions}


def probe(encoder: Any, example: Callable[[], Any]) -> int:
    """Encode an example and give the width of its features.

    Args:
        encoder: ready but for its width.
        example: makes an input as `read` gives them.

    Raises:
        InputError: the model does not take such inputs, or gives no finite features for them.
    """
    try:
        (features,) = encoder.encode([example()])
    except Exception as error:  # each model and each preprocessing has checks of its own
        raise InputError(
            f"the model {encoder.name} cannot be used for {encoder.kind} ({first_line(error)}); "
            "choose an encoder made for such inputs, or mend its preprocessor_config.json"
        ) from error
    if not np.isfinite(features).all():
        raise InputError(
            f"the model {encoder.name} gives NaN or infinite values at precision "
            f"{encoder.about['precision']}; use --precision float32, or mend its weights, or the "
            "mean and std in its preprocessor_config.json"
        )
    return int(features.shape[1])
