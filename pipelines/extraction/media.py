"""Recordings and clips as they are read, and the reason where one cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import resample_poly

from ...data.errors import InputError
from ...data.extras import optional

if TYPE_CHECKING:
    from PIL import Image

# More than the largest cameras have; a decoded image of this size takes 500 MB.
MAX_PIXELS = 160_000_000
# Preprocessing makes the short side a few hundred pixels, however long the other one gets.
MAX_RATIO = 50
RATES = (1_000, 1_000_000)  # samples per second; outside of these resampling takes all memory
MIN_SECONDS = 0.05


class Unusable(Exception):
    """A sample that no features can be taken from; its message is the reason."""


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
    check_file(path)
    soundfile = _soundfile()
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
        return float(_soundfile().info(path).duration)
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
    check_file(path)
    av = _av()
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
    """Check before the work that the packages for a kind of input are installed.

    Raises:
        InputError: it is not.
    """
    for package in ("PIL", "transformers"):
        optional(package, "extraction", "encoders")
    if kind == "audio":
        _soundfile()
    if kind == "video":
        _av()


def first_line(error: BaseException) -> str:
    """Give what an error says, without the path of the file, in one line."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return (str(text).splitlines() or [type(error).__name__])[0].strip()[:200].rstrip(".")


def check_size(width: int, height: int) -> None:
    """Refuse an image or a frame that takes all memory, as it is or scaled.

    Raises:
        Unusable: it is too large or too long.
    """
    if width * height > MAX_PIXELS:
        raise Unusable(f"too large: {width} x {height} pixels")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise Unusable(f"too long: {width} x {height} pixels, more than {MAX_RATIO} : 1")


def check_file(path: Path) -> None:
    """Refuse what is no file, or an empty one.

    Raises:
        Unusable: with the reason.
    """
    try:
        there = path.is_file()
        size = path.stat().st_size if there else 0
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise Unusable(f"the file cannot be read ({error.strerror})") from error
    if not there:
        raise Unusable("there is no such file")
    if size == 0:
        raise Unusable("the file is empty")


def _resampled(sound: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    if rate != new_rate and len(sound):
        common = gcd(rate, new_rate)
        sound = resample_poly(sound, new_rate // common, rate // common)
    return np.ascontiguousarray(sound, dtype=np.float32)


def _sound_of_clip(path: Path, rate: int, max_seconds: float, otherwise: str) -> np.ndarray:
    """Read what libsndfile does not know, such as the sound of a video."""
    failed = f"the recording cannot be read ({otherwise})"
    try:
        av = _av()
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
        check_size(frame.width, frame.height)
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


def _soundfile() -> ModuleType:
    return optional("soundfile", "media", "recordings")


def _av() -> ModuleType:
    return optional("av", "media", "clips")
