"""JPEGs that end too early: only those are read that lack no pixel."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cggm.pipelines.extraction.media import Unusable
from cggm.pipelines.extraction.pictures import read_image

END = b"\xff\xd9"


def picture(mode: str = "RGB", noise: float = 20.0) -> Image.Image:
    """Waves and noise, 90 x 70, so that the last blocks are not whole."""
    y, x = np.mgrid[:70, :90]
    waves = 128 + 60 * np.sin(x / 9) + 40 * np.cos(y / 7)
    values = np.random.default_rng(0).normal(waves[..., None], noise, (70, 90, 4))
    pixels = values.clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels[..., :3]).convert(mode)


def encoded(mode: str = "RGB", noise: float = 20.0, **settings: Any) -> bytes:
    buffer = BytesIO()
    picture(mode, noise).save(buffer, "JPEG", **settings)
    assert buffer.getvalue().endswith(END)
    return buffer.getvalue()


def read(path: Path, content: bytes) -> np.ndarray | None:
    """Its pixels, None where it is refused as cut off."""
    path.write_bytes(content)
    try:
        return np.asarray(read_image(path))
    except Unusable as error:
        assert "the image cannot be read" in str(error)
        return None


ENCODINGS: list[dict[str, Any]] = [
    {},
    {"quality": 100, "subsampling": 0},
    {"quality": 100, "noise": 0.0},
    {"quality": 30, "optimize": True},
    {"mode": "L"},
    {"mode": "CMYK"},
]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_missing_end_marker_costs_nothing(encoding: dict[str, Any], tmp_path: Path) -> None:
    content = encoded(**encoding)
    whole = read(tmp_path / "whole.jpg", content)
    assert whole is not None
    for cut in (1, 2):
        assert np.array_equal(read(tmp_path / "cut.jpg", content[:-cut]), whole)


@pytest.mark.parametrize("encoding", [*ENCODINGS, {"progressive": True}])
def test_no_pixel_is_ever_made_up(encoding: dict[str, Any], tmp_path: Path) -> None:
    content = encoded(**encoding)
    whole = read(tmp_path / "whole.jpg", content)
    begin = content.rindex(b"\xff\xda")
    for size in [*range(len(content) - 40, len(content) - 2), *range(begin, len(content), 211)]:
        for fill in (b"", bytes(3), bytes(len(content))):  # as a download leaves it at full size
            found = read(tmp_path / "cut.jpg", content[:size] + fill)
            assert found is None or np.array_equal(found, whole), size


@pytest.mark.parametrize("settings", [{"progressive": True}, {"restart_marker_rows": 1}])
def test_where_the_end_cannot_be_told_it_is_refused(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    content = encoded(**settings)
    assert read(tmp_path / "whole.jpg", content) is not None
    assert read(tmp_path / "cut.jpg", content[:-2]) is None


def test_a_rotation_is_undone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = read(tmp_path / "phone.jpg", encoded(exif=exif)[:-2])
    assert found is not None and found.shape == (90, 70, 3)
