"""How is an image, a recording or a clip read, and what is wrong with one that cannot be?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import gcd
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from scipy.signal import resample_poly

from ...data.errors import InputError

# More than the largest cameras have; a decoded image of this size takes 500 MB.
MAX_PIXELS = 160_000_000
# Preprocessing makes the short side a few hundred pixels, however long the other one gets.
MAX_RATIO = 50
RATES = (1_000, 1_000_000)  # samples per second; outside of these resampling takes all memory
MIN_SECONDS = 0.05


class Unusable(Exception):
    """A sample that no features can be taken from; its message is the reason."""


def read_image(path: Path) -> Image.Image:
    """Read an image as upright RGB of 8 bits; transparent parts become white.

    Raises:
        Unusable: it is not an image, cut short, or too large or long to be an honest one.
    """
    _check_file(path)
    try:
        with Image.open(path, formats=_formats()) as image:
            _check_size(image.width, image.height)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise Unusable("too large: it claims more than 170 million pixels") from error
    except Image.UnidentifiedImageError as error:
        raise Unusable("not an image of a known format") from error
    except (Unusable, MemoryError):
        raise
    except Exception as error:  # decoders raise all kinds of things on broken files
        raise Unusable(f"the image cannot be read ({first_line(error)})") from error


def read_audio(path: Path, rate: int, max_seconds: float) -> np.ndarray:
    """Read a recording, or the sound of a clip, as one channel.

    Args:
        path: the file.
        rate: samples per second of the result.
        max_seconds: what comes later is not read.

    Returns:
        float32 of shape (samples,).

    Raises:
        Unusable: it cannot be read, is empty, or holds values that are not finite.
        InputError: the library for it is not installed.
    """
    _check_file(path)
    soundfile = _library("soundfile", "recordings")
    try:
        with soundfile.SoundFile(path) as file:
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise Unusable(f"{file.samplerate:,} samples per second are not those of sound")
            count = int(max_seconds * file.samplerate)
            sound = file.read(count, dtype="float32", always_2d=True).mean(axis=1)
            sound = _resampled(sound, file.samplerate, rate)
    except soundfile.LibsndfileError as error:
        sound = _sound_of_clip(path, rate, max_seconds, first_line(error))
    if len(sound) < MIN_SECONDS * rate:
        raise Unusable(f"the recording is shorter than {MIN_SECONDS} s ({len(sound) / rate:.3f} s)")
    if not np.isfinite(sound).all():
        raise Unusable("the recording holds values that are not finite")
    return sound


def seconds_of(path: Path) -> float:
    """Give the length of a recording as its header has it, 0 when that is not known."""
    try:
        return float(_library("soundfile", "recordings").info(path).duration)
    except (RuntimeError, OSError):
        return 0.0


def read_frames(path: Path, per_second: float, most: int) -> Iterator[Image.Image]:
    """Give frames of a clip, evenly over all of it.

    Args:
        path: the file.
        per_second: frames to take of each second …
        most: … unless that makes more than these; then they are taken further apart.

    Raises:
        Unusable: it cannot be read, breaks off, or has no frames.
        InputError: the library for it is not installed.
    """
    _check_file(path)
    av = _library("av", "clips")
    count = 0
    try:
        with av.open(str(path)) as container:
            for frame in _chosen(container, per_second, most):
                count += 1
                yield frame
    except av.FFmpegError as error:
        raise Unusable(f"the clip cannot be read ({first_line(error)})") from error
    if not count:
        raise Unusable("the clip has no frames")


def needs(kind: str) -> None:
    """Check before the work that the library for a kind of file is installed.

    Raises:
        InputError: it is not.
    """
    if kind == "audio":
        _library("soundfile", "recordings")
    if kind == "video":
        _library("av", "clips")


def first_line(error: BaseException) -> str:
    """Give what an error says, without the path of the file, in one line."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return (str(text).splitlines() or [type(error).__name__])[0].strip()[:200].rstrip(".")


def image_endings() -> set[str]:
    """Give the endings of the names of images that can be read."""
    known = set(_formats())
    return {end for end, name in Image.registered_extensions().items() if name in known}


def _formats() -> list[str]:
    # Pillow would let another program, Ghostscript, run a file in EPS.
    Image.init()
    return [name for name in Image.OPEN if name != "EPS"]


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unusable(f"too large: {width} x {height} pixels")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise Unusable(f"too long: {width} x {height} pixels, more than {MAX_RATIO} : 1")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip them at 255
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray((values // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _check_file(path: Path) -> None:
    try:
        there = path.is_file()
        size = path.stat().st_size if there else 0
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise Unusable(f"the file cannot be read ({error.strerror})") from error
    if not there:
        raise Unusable("there is no such file")
    if size == 0:
        raise Unusable("the file is empty")


def _resampled(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate != wanted and len(sound):
        common = gcd(rate, wanted)
        sound = resample_poly(sound, wanted // common, rate // common)
    return np.ascontiguousarray(sound, dtype=np.float32)


def _sound_of_clip(path: Path, rate: int, max_seconds: float, otherwise: str) -> np.ndarray:
    """Read what libsndfile does not know, such as the sound of a video."""
    failed = f"the recording cannot be read ({otherwise})"
    try:
        av = _library("av", "clips")
    except InputError as error:
        raise Unusable(failed) from error
    pieces: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise Unusable("there is no sound in it")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
                if sum(map(len, pieces)) >= max_seconds * rate:
                    break
            else:
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    except av.FFmpegError as error:
        raise Unusable(failed) from error
    if not pieces:
        raise Unusable("there is no sound in it")
    return np.concatenate(pieces)[: int(max_seconds * rate)]


def _chosen(container: Any, per_second: float, most: int) -> Iterator[Image.Image]:
    if not container.streams.video:
        raise Unusable("there are no pictures in it")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    begin = None
    taken = 0
    step = max(1 / per_second, _duration(container, stream) / most)
    for number, frame in enumerate(container.decode(stream)):
        time = frame.time if frame.time is not None else number / float(stream.average_rate or 25)
        begin = time if begin is None else begin
        # A thousandth: times are rounded to the clock of the file.
        if time - begin + 1e-3 < taken * step:
            continue
        _check_size(frame.width, frame.height)
        image = frame.to_image()
        rotation = getattr(frame, "rotation", 0)
        yield image.rotate(rotation, expand=True) if rotation else image
        taken += 1
        if taken == most:
            return


def _duration(container: Any, stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1_000_000


def _library(name: str, things: str) -> ModuleType:
    load: dict[str, Callable[[], ModuleType]] = {"soundfile": _soundfile, "av": _av}
    try:
        return load[name]()
    except (ImportError, OSError) as error:  # OSError: soundfile without libsndfile
        raise InputError(
            f"{things} are read with the package {name}, which is not installed: "
            "pip install 'cggm[media]'"
        ) from error


def _soundfile() -> ModuleType:
    import soundfile

    return soundfile


def _av() -> ModuleType:
    import av

    return av
