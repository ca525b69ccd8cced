"""Images as they are read, and what encoders of images share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin
from torch import Tensor

from .encoder import NetworkEncoder
from .jpeg_end import completed, has_an_end
from .media import Unusable, check_file, check_size, first_line
from .network import flat, pooled, stacked

# Bytes of a text or colour profile inside a PNG; Pillow's own limit, 1 MB, refuses sound pictures
# that an editor wrote its history into. What all texts of a file may take stays Pillow's 64 MB.
_METADATA = 64 * 2**20
_CUT = "the image cannot be read (it is cut off)"


class PictureEncoder(NetworkEncoder):
    """An encoder of images; subclasses set `prefix` and add :meth:`prepare`.

    Attributes:
        prefix: how many of the first vectors stand for no place of an image.
    """

    prefix = 0

    def prepare(self, image: Image.Image) -> Tensor:
        """Give the pixels (3, H, W) that the network takes."""
        raise NotImplementedError

    def read(self, source: Any) -> Tensor:
        """See :class:`.Encoder`."""
        return self.prepare(read_image(Path(source)))

    def encode(self, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        """See :class:`.Encoder`."""
        # Batches of one: for models whose inputs differ in shape.
        alike = len({value.shape for value in inputs}) == 1
        batches = stacked(inputs, self.batch_size if alike else 1)
        hidden = [flat(self.network(pixel_values=batch)) for batch in batches]
        return [pooled(one, self.pooling, self.prefix).numpy() for each in hidden for one in each]

    def example(self) -> Tensor:
        """See :class:`.NetworkEncoder`."""
        return self.prepare(Image.new("RGB", (96, 64)))


def read_image(path: Path) -> Image.Image:
    """Read an image as upright RGB of 8 bits; transparent parts become white.

    Raises:
        Unusable: it is not an image, cut short, or too large or long to be an honest one.
    """
    check_file(path)
    PngImagePlugin.MAX_TEXT_CHUNK = _METADATA
    try:
        with Image.open(path, formats=_formats()) as image:
            check_size(image.width, image.height)
            return _to_rgb(ImageOps.exif_transpose(_loaded(image, path)))
    except Image.DecompressionBombError as error:
        raise Unusable("too large: it claims more than 170 million pixels") from error
    except Image.UnidentifiedImageError as error:
        with path.open("rb") as file:  # of a JPEG without any pixels, old versions of Pillow say so
            begun = file.read(2) == b"\xff\xd8"
        raise Unusable(_CUT if begun else "not an image of a known format") from error
    except (Unusable, MemoryError):
        raise
    except Exception as error:  # decoders raise all kinds of things on broken files
        raise Unusable(f"the image cannot be read ({first_line(error)})") from error


def _loaded(image: Image.Image, path: Path) -> Image.Image:
    if image.format == "JPEG" and not has_an_end(content := path.read_bytes()):
        whole = completed(content)
        if whole is None:
            raise Unusable(_CUT)
        return whole
    image.load()
    return image


def image_endings() -> set[str]:
    """Give the endings of the names of images that can be read."""
    known = set(_formats())
    return {end for end, name in Image.registered_extensions().items() if name in known}


def _formats() -> list[str]:
    # Pillow would let another program, Ghostscript, run a file in EPS.
    Image.init()
    return [name for name in Image.OPEN if name != "EPS"]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip them at 255
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray((values // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
