"""Feature files of the version before: refused with the remedy, and converted without a loss."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from cggm.data.errors import InputError
from cggm.data.features.earlier import convert_earlier
from cggm.data.features.feature_set import check_feature_set, open_feature_set
from cggm.data.features.file import FeatureFile

from .feature_sets import feature_set

ABOUT = {"model": "bert", "width": 3}


def write_earlier(path: Path, samples: dict[str, np.ndarray]) -> str:
    """Write a file as the version before did; return its checksum."""
    values = np.concatenate(list(samples.values()))
    lengths = np.array([len(array) for array in samples.values()], dtype=np.int64)
    names = json.dumps(list(samples)).encode()
    checksum = hashlib.sha256(values.tobytes() + names + lengths.tobytes()).hexdigest()
    with h5py.File(path, "w") as file:
        file["values"] = values
        file["ids"] = np.array([name.encode() for name in samples], dtype=h5py.string_dtype())
        file["lengths"] = lengths
        file.attrs["checksum"] = checksum
        file.attrs["format"] = "cggm features 1"
        file.attrs["about"] = json.dumps(ABOUT)
    return checksum


def as_earlier(folder: Path, modality: str) -> dict[str, np.ndarray]:
    """Put a file of the version before in the place of one of today."""
    file = FeatureFile(folder / f"{modality}.npy")
    samples = {name: file.read(name) for name in file.ids}
    assert write_earlier(folder / f"{modality}.h5", samples) == file.checksum
    file.path.unlink()
    (folder / f"{modality}.npy.json").unlink()
    return samples


def test_a_set_of_the_version_before_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = feature_set(tmp_path / "set")
    as_earlier(folder, "text")
    message = (
        f"{folder} holds features of an earlier version (text.h5); convert them with: cggm extract "
        f"finish {folder}"
    )
    with pytest.raises(InputError) as error:
        open_feature_set(folder)
    assert str(error.value) == message
    assert check_feature_set(folder) == [message]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_converted_file_holds_the_same(tmp_path: Path, dtype: str) -> None:
    folder = feature_set(tmp_path / "set")
    samples = {name: a.astype(dtype) for name, a in as_earlier(folder, "text").items()}
    checksum = write_earlier(folder / "text.h5", samples)
    before = (folder / "text.h5").read_bytes()
    file = convert_earlier(folder / "text.h5")
    assert (file.checksum, file.about, file.dtype) == (checksum, ABOUT, dtype)
    for name, array in samples.items():
        np.testing.assert_array_equal(file.read(name), array.astype("f4"))
    assert (folder / "text.h5").read_bytes() == before
    assert open_feature_set(folder).ids == file.ids and check_feature_set(folder) == []


def test_a_damaged_file_is_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    write_earlier(path, {"a": np.ones((2, 3), "f4")})
    with h5py.File(path, "r+") as file:
        file["values"][0, 0] = 2  # pyright: ignore[reportIndexIssue]
    with pytest.raises(InputError, match="text.h5 is damaged: its checksum is another"):
        convert_earlier(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["about"]
    with pytest.raises(InputError, match="text.h5 cannot be read as HDF5"):
        convert_earlier(path)
    path.write_text("nothing")
    with pytest.raises(InputError, match="text.h5 cannot be read as HDF5"):
        convert_earlier(path)
    with h5py.File(path, "w") as file:
        file["values"] = np.ones(3)
    with pytest.raises(InputError, match="text.h5 holds no features of ours"):
        convert_earlier(path)
    assert [file.name for file in tmp_path.iterdir()] == ["text.h5"]
