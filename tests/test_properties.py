"""Files of any content, made by Hypothesis: each reader gives a value or an InputError."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cggm.data.brats.cases import find_cases
from cggm.data.brats.nifti import read_case, read_nifti
from cggm.data.errors import InputError
from cggm.data.features.file import FeatureFile
from cggm.data.features.header import read_header
from cggm.data.features.table import read_samples
from cggm.data.files import write_csv
from cggm.data.split_file import write_split
from cggm.data.splits import read_split
from cggm.data.tables import read_rows
from cggm.pipelines.commands.bundle import describe_settings
from cggm.pipelines.commands.overrides import read_command
from cggm.pipelines.research.experiments.grid import plan, read_grid
from cggm.pipelines.segmentation.batch.table import cases_of_table
from cggm.pipelines.segmentation.trained import trained_network

from .segmentation.batch.models import NETWORK

FEW = settings(derandomize=True, max_examples=60, deadline=None, database=None)

NAMES = st.sampled_from(["a", "b", "P1", "t1", "flair", "train", ""]) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


def entries(*keys: str) -> st.SearchStrategy[Any]:
    """Objects that have some of these keys, each with any value."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, VALUES))


def texts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """These values as JSON, or any bytes in their place."""
    return values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=64)


def read(content: bytes, name: str, reader: Callable[[Path], object]) -> None:
    """Read a file of this content; an InputError, which names it, is an answer, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        with suppress(InputError):
            reader(path)


# Images.


def image(dtype: Any = np.int16) -> bytes:
    voxels = np.arange(3 * 4 * 5, dtype=dtype).reshape(3, 4, 5)
    return nib.Nifti1Image(voxels, np.diag([1, 2, 3, 1])).to_bytes()


CHANGES = st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4)


@FEW
@given(CHANGES, st.none() | st.integers(0, len(image())), st.booleans())
def test_an_image_with_other_bytes(
    changes: list[tuple[int, int]], end: int | None, zipped: bool
) -> None:
    content = bytearray(image())
    for place, byte in changes:
        content[place] = byte
    content = bytes(content[:end])
    if zipped:
        read(gzip.compress(content), "x.nii.gz", lambda path: read_nifti(path, "x"))
    else:
        read(content, "x.nii", lambda path: read_nifti(path, "x"))


# Tables.

CELLS = st.text(st.characters(codec="utf-8"), max_size=6)


@FEW
@given(st.lists(CELLS | st.sampled_from([",", ";", "\t", '"', "\n", "\r", "case"])).map("".join))
def test_a_table_of_any_text(text: str) -> None:
    read(text.encode(), "x.csv", lambda path: read_rows(path, ["case"]))
    read(text.encode("utf-16"), "x.csv", lambda path: read_rows(path, ["case"]))


@FEW
@given(st.binary(max_size=64))
def test_a_table_of_any_bytes(content: bytes) -> None:
    read(content, "x.csv", lambda path: read_rows(path, []))


@FEW
@given(st.lists(st.fixed_dictionaries({"case": CELLS, "date": CELLS})))
def test_a_written_table_is_read_the_same(rows: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_csv(Path(folder, "x.csv"), rows, ["case", "date"])
        assert read_rows(Path(folder, "x.csv"), ["case", "date"]) == rows


@FEW
@given(texts(st.lists(entries("flair", "t1", "image", "case", "subject", "date"), max_size=3)))
@example(b'[{"image": null}]')
@example(b'[{"case": "a", "t1": "\\u0000"}]')
@example(b'[{"case": "a", "t1": "\\ud800"}]')
def test_a_datalist_of_any_values(content: bytes) -> None:
    def reader(path: Path) -> None:
        for case in cases_of_table(path)[0]:
            read_case(case, list(case.images))

    read(content, "x.json", reader)


# Splits.


@FEW
@given(texts(entries("train", "val", "test", "test_is_val", "training")))
def test_a_split_of_any_values(content: bytes) -> None:
    read(content, "x.json", lambda path: read_split(path, ["a", "b"], fold=0))


FOLDS = st.lists(entries("fold", "image", "label"), max_size=3)


@FEW
@given(texts(st.fixed_dictionaries({"training": FOLDS})))
@example(b'{"training": [{"fold": 1e999, "image": "a"}]}')
def test_folds_of_any_values(content: bytes) -> None:
    read(content, "x.json", lambda path: read_split(path, ["a", "b"], fold=0))


@FEW
@given(st.lists(st.text(), min_size=3, unique=True))
def test_a_written_split_is_read_the_same(names: list[str]) -> None:
    split = {"train": sorted(names[2:]), "val": [names[0]], "test": [names[1]]}
    with tempfile.TemporaryDirectory() as folder:
        write_split(Path(folder, "x.json"), split, {})
        try:
            assert read_split(Path(folder, "x.json"), names) == split
        except InputError as error:
            assert "two parts" in str(error)


# Descriptions.


@FEW
@given(texts(entries("modality", "channel_names", "labels")))
@example('{"labels": {"²": "edema"}}'.encode())
def test_a_description_of_a_task_of_any_values(content: bytes) -> None:
    def reader(path: Path) -> None:
        (path.parent / "imagesTr").mkdir()
        (path.parent / "labelsTr").mkdir()
        for name in ("imagesTr/P.nii", "labelsTr/P.nii"):
            (path.parent / name).write_bytes(image())
        find_cases(path.parent)

    read(content, "dataset.json", reader)


HEADERS = st.fixed_dictionaries(
    {
        "format": st.just("cggm feature set 1"),
        "task": st.sampled_from(["classification", "regression"]),
    },
    optional={"classes": VALUES, "modalities": VALUES, "name": VALUES},
)


@FEW
@given(texts(HEADERS), st.text(',\n"ab1.', max_size=12))
def test_a_feature_set_of_any_values(content: bytes, table: str) -> None:
    def reader(path: Path) -> None:
        (path.parent / "samples.csv").write_text("id,label,split,group\n" + table)
        read_samples(path.parent, read_header(path.parent))

    read(content, "dataset.json", reader)


@FEW
@given(
    texts(
        st.fixed_dictionaries(
            {"format": st.just("cggm features 2")},
            optional=dict.fromkeys(("ids", "lengths", "checksum", "about"), VALUES),
        )
    )
)
def test_an_index_of_features_of_any_values(content: bytes) -> None:
    def reader(path: Path) -> None:
        np.save(path.with_name("x.npy"), np.zeros((2, 3), np.float32))
        FeatureFile(path.with_name("x.npy"))

    read(content, "x.json", reader)


TRAINED = {"sequences": ["t1", "t2"], "trained_on": ["0"], **NETWORK}
SMALL = VALUES.filter(lambda value: not isinstance(value, int | float) or abs(value) < 9)
OTHERS = st.dictionaries(
    st.sampled_from([*TRAINED, "architecture", "late_fusion", "outputs", "neighbors"]), SMALL
)


@FEW
@given(texts(OTHERS.map(lambda others: TRAINED | others)))
@example(b'{"trained_on": null}')
@example(json.dumps(TRAINED | {"architecture": None}).encode())
@example(json.dumps(TRAINED | {"encoder": None}).encode())
def test_a_description_of_weights_of_any_values(content: bytes) -> None:
    def reader(path: Path) -> None:
        torch.save({}, path.with_suffix(".pt"))
        trained_network(path.with_suffix(".pt"))

    read(content, "model.json", reader)


# Settings.

CONFIGURATIONS = texts(st.dictionaries(NAMES, VALUES, max_size=4) | VALUES)


@FEW
@given(CONFIGURATIONS | NAMES.map(str.encode), st.sampled_from(["x.json", "x.yaml"]))
@example(b"[", "x.json")
@example(b"[1]", "x.yaml")
def test_settings_of_any_values(content: bytes, name: str) -> None:
    read(content, name, lambda path: read_command(["--args_file", str(path)]))
    read(content, name, lambda path: describe_settings([path]))


GRID = st.fixed_dictionaries(
    {"bundle": st.just("mosi") | VALUES, "methods": st.just(["cggm"]) | VALUES},
    optional=dict.fromkeys(("seeds", "settings", "vary", "modalities", "unimodal"), VALUES),
)


@FEW
@given(texts(GRID))
@example(b'{"bundle": "", "methods": ["cggm"]}')
def test_a_grid_of_any_values(content: bytes) -> None:
    read(content, "x.json", lambda path: plan(read_grid(path)))
