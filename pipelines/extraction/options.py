"""Settings of encoders, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...data.errors import InputError

KINDS = ("text", "image", "audio", "video")
MODELS = {
    "text": "bert-base-uncased",
    "image": "google/vit-base-patch16-224",
    "audio": "openai/whisper-tiny",
    "video": "google/vit-base-patch16-224",
}
# A text or a recording is a sequence already; an image as patches would be 200 times as large.
POOLING = {"text": "tokens", "image": "mean", "audio": "tokens", "video": "mean"}
# Texts, images, recordings, frames that a network sees at once.
BATCH_SIZES = {"text": 32, "image": 16, "audio": 8, "video": 16}
PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True)
class Options:
    """Settings of an encoder; those that a kind of input has no use for are ignored.

    Args:
        pooling: "tokens" (a vector per token, patch or step), "mean" or "cls" (one vector); None
            is "tokens" for texts and recordings, "mean" for images and the frames of a clip.
        max_length: tokens of a text; what is longer is cut.
        max_seconds: seconds of a recording; what is longer is cut.
        whole_window: give Whisper the 30 s it was trained on, most of them silence, for any
            recording; many times slower.
        frames_per_second: frames taken from a clip, fewer when that makes more than `max_frames`.
        max_frames: the most frames of a clip, spread over all of it.
        batch_size: inputs (of a clip: frames) that the network sees at once; None by kind.
        device: "cpu", "cuda", "cuda:1", …; "auto" is a GPU where there is one.
        precision: "float32"; "bfloat16" or "float16" by autocast; "int8" by dynamic quantization
            of linear layers on a CPU; "auto" is float16 on a GPU and float32 on a CPU.
        revision: branch, tag or commit of a model on the hub.
        weights: file with the weights of a timm model.
        mean: of the channels, in place of the model's own.
        std: as `mean`.
    """

    pooling: str | None = None
    max_length: int = 64
    max_seconds: float = 30.0
    whole_window: bool = False
    frames_per_second: float = 2.0
    max_frames: int = 64
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    revision: str | None = None
    weights: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def check(self, kind: str) -> None:
        """Refuse values that no encoder could use.

        Raises:
            InputError: names the setting, its value and what is allowed.
        """
        if kind not in KINDS:
            raise InputError(f"the kind {kind!r} is not known; it is one of {', '.join(KINDS)}")
        _one_of("precision", self.precision, PRECISIONS)
        if self.pooling is not None:
            allowed = ("mean", "cls") if kind == "video" else ("tokens", "mean", "cls")
            _one_of("pooling", self.pooling, allowed)
        for name in ("max_length", "max_seconds", "frames_per_second", "max_frames", "batch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}; it must be above 0")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None and len(value) not in (1, 3):
                raise InputError(f"{name} has {len(value)} values; give one, or one per channel")
        if self.std is not None and min(self.std) <= 0:
            raise InputError(f"std is {self.std}; it must be above 0")

    def pooling_of(self, kind: str) -> str:
        """Give the pooling, by kind when none is chosen."""
        return self.pooling or POOLING[kind]

    def batch_size_of(self, kind: str) -> int:
        """Give the batch size, by kind when none is chosen."""
        return self.batch_size or BATCH_SIZES[kind]


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; it is one of {', '.join(allowed)}")
