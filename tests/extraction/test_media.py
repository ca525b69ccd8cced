"""Images, recordings and clips as people have them, and broken ones."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from cggm.data.errors import InputError
from cggm.pipelines.extraction.media import Unusable, read_audio, read_frames
from cggm.pipelines.extraction.pictures import read_image

from .conftest import picture, tone


def test_all_modes_become_rgb(tmp_path: Path) -> None:
    gradient = np.tile(np.arange(0, 250, 10, dtype=np.uint8), (8, 1))
    gray = Image.fromarray(gradient)
    for mode, ending in (("L", "png"), ("P", "png"), ("CMYK", "tif"), ("1", "png"), ("LA", "png")):
        path = tmp_path / f"{mode}.{ending}"
        gray.convert(mode).save(path)
        image = read_image(path)
        assert (image.mode, image.size) == ("RGB", (25, 8))
        if mode != "1":
            assert np.abs(np.asarray(image)[0, :, 0] - gradient[0].astype(int)).max() <= 2


def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 65535, 20).astype(np.uint16), (4, 1))
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = np.asarray(read_image(tmp_path / "deep.png"))[0, :, 0]
    assert np.abs(found - np.linspace(0, 255, 20)).max() <= 1


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_image(tmp_path / "clear.png")).min() == 255


def test_rotation_of_a_camera_is_undone(tmp_path: Path) -> None:
    image = Image.new("RGB", (10, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "phone.jpg", exif=exif)
    assert read_image(tmp_path / "phone.jpg").size == (20, 10)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def bomb(path: Path) -> None:
    """A PNG of a few bytes that claims 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("megabytes", [2, 100])
def test_a_picture_with_much_text_in_it(tmp_path: Path, megabytes: int) -> None:
    """As editors write it; a hundred megabytes are the work of nobody honest."""
    raw = picture(tmp_path / "a.png").read_bytes()
    text = b"Raw profile type xmp\0\0" + zlib.compress(b"\0" * megabytes * 2**20)
    (tmp_path / "a.png").write_bytes(raw[:33] + chunk(b"zTXt", text) + raw[33:])
    if megabytes < 64:
        assert read_image(tmp_path / "a.png").size == (40, 30)
    else:
        with pytest.raises(Unusable, match="Decompressed data too large"):
            read_image(tmp_path / "a.png")


def test_unusable_images_say_why(tmp_path: Path) -> None:
    whole = picture(tmp_path / "whole.png", size=(200, 200)).read_bytes()
    (tmp_path / "short.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "nothing.jpg").touch()
    bomb(tmp_path / "bomb.png")
    # With its short side scaled to 224 it would have a billion pixels.
    Image.new("L", (20_000, 1)).save(tmp_path / "long.png")
    Image.new("L", (1, 20_000)).save(tmp_path / "high.png")
    Image.new("L", (10, 10)).save(tmp_path / "program.eps")  # Pillow has Ghostscript run it
    (tmp_path / "program.eps").rename(tmp_path / "program.jpg")
    reasons = {
        "short.png": "truncated|cannot be read",
        "text.jpg": "not an image",
        "nothing.jpg": "file is empty",
        "missing.jpg": "no such file",
        "x" * 300 + ".jpg": "cannot be read .File name too long",
        "bomb.png": "too large",
        "long.png": "too long: 20000 x 1 pixels, more than 50 : 1",
        "high.png": "too long: 1 x 20000 pixels",
        "program.jpg": "not an image of a known format",
    }
    for name, reason in reasons.items():
        with pytest.raises(Unusable, match=reason) as caught:
            read_image(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)
    Image.new("L", (1000, 20)).save(tmp_path / "panorama.png")
    assert read_image(tmp_path / "panorama.png").size == (1000, 20)


def test_sound_is_mixed_resampled_and_cut(tmp_path: Path) -> None:
    wave = tone(2.0, 44_100)
    soundfile.write(tmp_path / "stereo.flac", np.stack([wave, wave], axis=1), 44_100)
    sound = read_audio(tmp_path / "stereo.flac", 16_000, 30)
    assert (sound.dtype, sound.shape) == (np.float32, (32_000,))
    expected = tone(2.0, 16_000)
    assert np.abs(sound - expected)[500:-500].max() < 0.01
    assert len(read_audio(tmp_path / "stereo.flac", 16_000, 0.5)) == 8_000


def test_unusable_recordings_say_why(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not sound")
    (tmp_path / "nothing.wav").touch()
    soundfile.write(tmp_path / "short.wav", tone(0.01, 16_000), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan, "f4"), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "fast.wav", tone(0.1, 16_000), 2_147_483_647)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000, "f4"), 16_000)
    reasons = {
        "text.wav": "cannot be read",
        "nothing.wav": "file is empty",
        "short.wav": "shorter than 0.05 s",
        "nan.wav": "not finite",
        "fast.wav": "2,147,483,647 samples per second are not those of sound",
    }
    for name, reason in reasons.items():
        with pytest.raises(Unusable, match=reason):
            read_audio(tmp_path / name, 16_000, 30)
    assert not read_audio(tmp_path / "silent.wav", 16_000, 30).any()


def clip(path: Path, seconds: float, rate: int = 10, sound: bool = False) -> Path:
    """A clip whose frames get brighter with time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        track = container.add_stream("aac", rate=16_000) if sound else None
        count = round(seconds * rate)
        for number in range(count):
            values = np.full((48, 64, 3), 250 * number // count, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values)))
        container.mux(stream.encode())
        if track is not None:
            frame = av.AudioFrame.from_ndarray(tone(seconds, 16_000)[None], "fltp", "mono")
            frame.sample_rate = 16_000
            container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def brightness(path: Path, per_second: float, most: int) -> np.ndarray:
    return np.array([np.asarray(f).mean() for f in read_frames(path, per_second, most)])


def test_frames_are_spread_over_the_clip(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", 4.0)
    two = brightness(path, 2, 64)
    assert len(two) == 8
    assert np.allclose(np.diff(two), 250 / 8, atol=6)
    few = brightness(path, 2, 4)
    assert len(few) == 4
    assert np.allclose(np.diff(few), 250 / 4, atol=6)


def test_sound_of_a_clip(tmp_path: Path) -> None:
    sound = read_audio(clip(tmp_path / "talk.mp4", 2.0, sound=True), 16_000, 30)
    assert abs(len(sound) / 16_000 - 2.0) < 0.15
    assert 0.1 < np.abs(sound).max() < 0.5
    with pytest.raises(Unusable, match="no sound"):
        read_audio(clip(tmp_path / "mute.mp4", 1.0), 16_000, 30)


def test_unusable_clips_say_why(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", 2.0).read_bytes()
    (tmp_path / "short.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "nothing.mp4").touch()
    soundfile.write(tmp_path / "sound.wav", tone(1, 16_000), 16_000)
    reasons = {
        "short.mp4": "cannot be read",
        "nothing.mp4": "empty",
        "sound.wav": "no pictures",
    }
    for name, reason in reasons.items():
        with pytest.raises(Unusable, match=reason):
            list(read_frames(tmp_path / name, 2, 64))


def test_missing_library_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "clip.mp4", 1.0)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"package av, which is not installed: pip install"):
        list(read_frames(path, 2, 64))
