"""Clips as sequences of frames, each encoded as an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .media import read_frames
from .options import Options
from .pictures import PictureEncoder


class VideoEncoder:
    """One vector per frame, see :class:`.Encoder`.

    Args:
        frames: encoder of images, with a pooling that gives one vector per image.
        options: how many frames.
    """

    kind = "video"
    # Clips are read one by one: their frames are a batch already.
    batch_size = 1

    def __init__(self, frames: PictureEncoder, options: Options) -> None:
        self.frames = frames
        self.name = frames.name
        self.width = frames.width
        self.per_second = options.frames_per_second
        self.most = options.max_frames
        self.about = frames.about | {
            "frames_per_second": self.per_second,
            "max_frames": self.most,
        }

    def read(self, source: Any) -> Tensor:
        """See :class:`.Encoder`."""
        images = read_frames(Path(source), self.per_second, self.most)
        return torch.stack([self.frames.prepare(image) for image in images])

    def size(self, source: Any) -> float:
        """Give 0: clips are encoded one by one."""
        return 0.0

    def encode(self, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        """See :class:`.Encoder`."""
        # Clip by clip, so that a batch of frames never depends on another clip.
        return [np.concatenate(self.frames.encode(list(clip))) for clip in inputs]
