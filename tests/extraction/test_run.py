"""Extraction: whole, in order, in parts, and the same after it was stopped."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.features.file import FeatureFile
from cggm.pipelines.extraction import (
    Encoder,
    Options,
    Plan,
    Sample,
    extract,
    list_folder,
    load_encoder,
)
from cggm.pipelines.extraction.media import Unusable

from ..children import in_a_child
from .conftest import picture, sentences

PLAN = Plan(chunk=7, progress=False)


def texts(count: int) -> list[Sample]:
    return [Sample(f"t{i}", text, text) for i, text in enumerate(sentences(count))]


class Fragile:
    """An encoder that breaks down at a given call."""

    def __init__(self, encoder: Encoder, calls: int) -> None:
        self.encoder = encoder
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        self.calls -= 1
        if self.calls < 0:
            raise ConnectionError("the power is gone")
        return self.encoder.encode(inputs)


@pytest.fixture(scope="module")
def encoder(bert: Path) -> Encoder:
    return load_encoder("text", str(bert), Options(device="cpu", batch_size=3))


def others(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def test_features_are_in_the_order_of_the_samples(encoder: Encoder, tmp_path: Path) -> None:
    samples = texts(20)
    result = extract(samples, encoder, tmp_path / "text.npy", PLAN)
    file = FeatureFile(tmp_path / "text.npy")
    assert file.ids == [s.name for s in samples]
    for sample in samples:
        (expected,) = encoder.encode([sample.source])
        np.testing.assert_allclose(file.read(sample.name), expected, atol=2e-5)
    assert others(tmp_path) == ["text.npy", "text.npy.json"]
    assert (result.encoded, result.left_out) == (20, [])
    assert "20 samples, width 32" in str(result) and "0 left out" in str(result)


def test_about(encoder: Encoder, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, origin="samples.csv", dtype="float16")
    about = extract(texts(3), encoder, tmp_path / "text.npy", plan).file.about
    expected = {
        "kind": "text",
        "model": "tiny-bert",
        "pooling": "tokens",
        "max_length": 64,
        "precision": "float32",
        "width": 32,
        "origin": "samples.csv",
        "left_out": 0,
        "dtype": "float16",
    }
    assert expected.items() <= about.items()
    assert about["revision"].startswith("sha256:") and len(about["revision"]) == 71
    assert set(about["versions"]) == {"transformers", "torch"}
    assert str(tmp_path) not in json.dumps(about)


def test_a_run_that_breaks_down_anywhere_ends_with_the_same_bytes(
    encoder: Encoder, tmp_path: Path
) -> None:
    samples = texts(20)
    extract(samples, encoder, tmp_path / "clean.npy", PLAN)
    for calls in range(8):  # of 3 + 3 + 2 batches
        output = tmp_path / f"{calls}.npy"
        with pytest.raises(ConnectionError):
            extract(samples, Fragile(encoder, calls), output, PLAN)
        assert not output.exists()
        result = extract(samples, encoder, output, PLAN)
        assert result.encoded == 20 - 7 * (calls // 3)
        assert output.read_bytes() == (tmp_path / "clean.npy").read_bytes()


def test_a_damaged_part_is_made_again(encoder: Encoder, tmp_path: Path) -> None:
    samples = texts(20)
    extract(samples, encoder, tmp_path / "clean.npy", PLAN)
    output = tmp_path / "text.npy"
    with pytest.raises(ConnectionError):
        extract(samples, Fragile(encoder, 6), output, PLAN)
    parts = sorted((tmp_path / "text.npy.parts").glob("*.npz"))
    assert len(parts) == 2
    parts[0].write_bytes(parts[0].read_bytes()[:2000])
    assert extract(samples, encoder, output, PLAN).encoded == 13
    assert output.read_bytes() == (tmp_path / "clean.npy").read_bytes()


def test_what_is_there_is_not_extracted_again(encoder: Encoder, tmp_path: Path) -> None:
    output = tmp_path / "text.npy"
    extract(texts(5), encoder, output, PLAN)
    (tmp_path / "text.npy.parts").mkdir()  # killed before its last step
    before = output.stat().st_mtime_ns
    # Neither the size of batches nor that of parts makes other features.
    result = extract(texts(5), encoder, output, Plan(chunk=2, progress=False))
    assert str(result) == f"already extracted: {output} (5 samples, width 32, 0 left out)"
    assert (output.stat().st_mtime_ns, others(tmp_path)) == (before, ["text.npy", "text.npy.json"])


def test_a_picture_that_was_replaced_and_a_folder_that_was_copied(
    vit: Path, tmp_path: Path
) -> None:
    """Neither the size of a file nor its time says whether it is another one."""
    encoder = load_encoder("image", str(vit))
    for number in range(3):
        picture(tmp_path / "one" / f"{number}.bmp", number)
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copyfile)
    output = tmp_path / "image.npy"
    extract(list_folder(tmp_path / "one", kind="image"), encoder, output, PLAN)
    again = extract(list_folder(tmp_path / "two", kind="image"), encoder, output, PLAN)
    assert again.seconds is None
    before = (tmp_path / "two" / "1.bmp").stat()
    picture(tmp_path / "two" / "1.bmp", 7)
    os.utime(tmp_path / "two" / "1.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (tmp_path / "two" / "1.bmp").stat().st_size == before.st_size
    with pytest.raises(InputError, match="another table, or files that changed"):
        extract(list_folder(tmp_path / "two", kind="image"), encoder, output, PLAN)


def test_other_settings_are_refused(encoder: Encoder, bert: Path, tmp_path: Path) -> None:
    output = tmp_path / "text.npy"
    extract(texts(5), encoder, output, PLAN)
    before = output.read_bytes()
    mean = load_encoder("text", str(bert), Options(device="cpu", pooling="mean"))
    with pytest.raises(InputError, match=r"text.npy exists .* \(pooling tokens, now mean\)"):
        extract(texts(5), mean, output, PLAN)
    with pytest.raises(InputError, match="another table, or files that changed"):
        extract(texts(6), encoder, output, PLAN)
    assert output.read_bytes() == before
    extract(texts(6), mean, output, dataclasses.replace(PLAN, overwrite=True))
    assert (len(FeatureFile(output)), FeatureFile(output).about["pooling"]) == (6, "mean")


def test_parts_of_other_settings_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    output = tmp_path / "text.npy"
    with pytest.raises(ConnectionError):
        extract(texts(20), Fragile(encoder, 4), output, PLAN)
    other = Plan(chunk=5, progress=False)
    with pytest.raises(InputError, match=r"unfinished .* \(chunk 7, now 5\); .* --overwrite"):
        extract(texts(20), encoder, output, other)
    result = extract(texts(20), encoder, output, dataclasses.replace(other, overwrite=True))
    assert result.encoded == 20
    assert others(tmp_path) == ["text.npy", "text.npy.json"]


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_what_a_killed_run_left_is_cleared(encoder: Encoder, tmp_path: Path) -> None:
    output = tmp_path / "text.npy"
    with pytest.raises(ConnectionError):
        extract(texts(20), Fragile(encoder, 4), output, PLAN)
    gone = in_a_child(lambda: None)
    os.waitpid(gone, 0)
    for name in (".text.npy", ".text.left_out.csv", "text.npy.parts/.part-000001.npz"):
        (tmp_path / f"{name}.{gone}.tmp").write_text("half")
    other = f".image.npy.{gone}.tmp"
    (tmp_path / other).write_text("half")
    assert extract(texts(20), encoder, output, PLAN).encoded == 13
    assert others(tmp_path) == [other, "text.npy", "text.npy.json"]


def test_a_folder_of_parts_that_is_not_ours_is_kept(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "text.npy.parts").mkdir()
    (tmp_path / "text.npy.parts" / "diary.txt").write_text("dear diary")
    with pytest.raises(InputError, match="settings.json is missing"):
        extract(texts(5), encoder, tmp_path / "text.npy", PLAN)


def test_samples_without_features_are_listed(vit: Path, tmp_path: Path) -> None:
    encoder = load_encoder("image", str(vit), Options(batch_size=2))
    samples = []
    for number in range(10):
        path = tmp_path / "photos" / f"{number}.png"
        picture(path, number)
        if number in (0, 3, 4, 5):
            path.write_bytes(b"broken")
        samples.append(Sample(f"-{number}", path, path.name))
    result = extract(samples, encoder, tmp_path / "image.npy", Plan(chunk=3, progress=False))
    assert result.file.ids == ["-1", "-2", "-6", "-7", "-8", "-9"]
    assert result.file.about["left_out"] == 4
    lines = (tmp_path / "image.left_out.csv").read_text().splitlines()
    assert lines[:2] == ["id,reason", "-0,not an image of a known format"]
    assert len(lines) == 5
    assert str(result).endswith(f"4 left out, listed in {tmp_path / 'image.left_out.csv'}")
    again = extract(samples, encoder, tmp_path / "image.npy", PLAN)
    assert again.left_out == result.left_out
    with pytest.raises(InputError, match="from any of the samples .*-3: not an image"):
        extract([samples[3]], encoder, tmp_path / "none.npy", PLAN)
    assert not list(tmp_path.glob("none*"))


def test_values_that_are_not_finite(encoder: Encoder, tmp_path: Path) -> None:
    class Overflowing(Fragile):
        def encode(self, inputs: Sequence[Any]) -> list[np.ndarray]:
            return [np.full((1, 32), 1e6, dtype=np.float32) for _ in inputs]

    plan = dataclasses.replace(PLAN, dtype="float16")
    with pytest.raises(InputError, match="'t0' that are not finite .* use --dtype float32"):
        extract(texts(1), Overflowing(encoder, 0), tmp_path / "text.npy", plan)
    extract(texts(1), Overflowing(encoder, 0), tmp_path / "other.npy", PLAN)


def test_plans_that_cannot_work(encoder: Encoder, tmp_path: Path) -> None:
    for plan, message in ((Plan(chunk=0), "chunk is 0"), (Plan(dtype="int8"), "dtype is 'int8'")):
        with pytest.raises(InputError, match=message):
            extract(texts(1), encoder, tmp_path / "a.npy", plan)
    with pytest.raises(InputError, match=r"must end in \.npy"):
        extract(texts(1), encoder, tmp_path / "a.npz")
    with pytest.raises(InputError, match="no samples"):
        extract([], encoder, tmp_path / "a.npy")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        extract(texts(1), encoder, tmp_path / "file" / "a.npy")
    assert not list(tmp_path.glob("a*"))


def test_memory_holds_no_more_than_a_part_and_two_batches(tmp_path: Path) -> None:
    """Counts what was read and is not encoded yet."""

    class Counting:
        kind, name, width, batch_size = "image", "counting", 1, 2
        about: dict[str, Any] = {"kind": "image"}
        waiting = most = 0

        def read(self, source: Any) -> float:
            type(self).waiting += 1
            type(self).most = max(self.most, self.waiting)
            if source == "bad":
                raise Unusable("bad")
            return float(source)

        def size(self, source: Any) -> float:
            return 0.0

        def encode(self, inputs: Sequence[Any]) -> list[np.ndarray]:
            time.sleep(0.01)  # for the readers to run as far ahead as they may
            type(self).waiting -= len(inputs)
            return [np.full((1, 1), value) for value in inputs]

    samples = [Sample(str(i), str(i), str(i)) for i in range(40)]
    extract(samples, Counting(), tmp_path / "a.npy", Plan(chunk=20, progress=False))
    assert Counting.most <= 2 * Counting.batch_size
