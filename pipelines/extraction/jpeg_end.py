"""JPEGs whose last bytes are missing although all of their pixels are there."""

from __future__ import annotations

import random
from io import BytesIO

from PIL import Image

_BASELINE = (0xC0, 0xC1)  # frames of one pass with a Huffman code
_RESTARTS = 0xDD
_SCAN, _END = b"\xff\xda", b"\xff\xd9"


def has_an_end(content: bytes) -> bool:
    """Whether the last scan of a JPEG ends; Pillow takes zeros in its place for pixels."""
    return _END in content[content.rfind(_SCAN) :]


def completed(content: bytes) -> Image.Image | None:
    """Decode a JPEG without its end, as browsers do; None where pixels are missing, or may be.

    What follows its last byte does not matter to a scan that is complete, and is read as pixels by
    any other: whatever byte comes next, all pixels have to agree. That tells nothing where a file
    may stop between scans (progressive) or between restart markers: these are refused, and files
    that were filled up with zeros.
    """
    content = content.rstrip(b"\xff")  # the first half of a marker
    if content.endswith(b"\0\0") or not _has_one_plain_scan(content):
        return None
    draws = random.Random(0)
    # Every byte, so that the one that is missing is among them.
    noise = [bytes([value]) + draws.randbytes(31) for value in range(256)]
    draws.shuffle(noise)
    try:
        first = Image.open(BytesIO(content + _END), formats=["JPEG"])
        pixels = first.tobytes()
        for tail in noise:
            following = tail.replace(b"\xff", b"\xff\0") + _END
            with Image.open(BytesIO(content + following), formats=["JPEG"]) as other:
                if other.tobytes() != pixels:
                    return None
    except OSError:
        return None
    return first


def _has_one_plain_scan(content: bytes) -> bool:
    segments: dict[int, bytes] = {}
    place = 2
    while content[place : place + 1] == b"\xff" and content[place : place + 2] != _SCAN:
        size = int.from_bytes(content[place + 2 : place + 4], "big")
        segments[content[place + 1]] = content[place + 4 : place + 2 + size]
        place += 2 + size
    frame = next((segments[kind] for kind in _BASELINE if kind in segments), b"")
    components = frame[5:6]
    return (
        _RESTARTS not in segments
        and len(components) == 1
        and content[place + 4 : place + 5] == components
    )
