"""Files made to harm: none runs code, none is believed, each ends in a sentence (SECURITY.md)."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import typer

from cggm import Segmenter
from cggm.data.brats.cases import SEQUENCES
from cggm.data.brats.nifti import read_case
from cggm.data.errors import InputError
from cggm.data.features.file import FeatureFile
from cggm.data.split_file import split_content, split_parts
from cggm.data.tables import read_rows
from cggm.pipelines.commands import check, follow, report, segment
from cggm.pipelines.segmentation.batch.cases import find_cases_to_segment

from .data.brains import write_case
from .segmentation.batch.models import NETWORK, write_model

DEEP = "[" * 100_000
SCRIPT = "<script>alert(1)</script>"


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def harmed(tmp_path: Path) -> Path:
    """A folder that code in a file would make."""
    return tmp_path / "harmed"


@pytest.fixture
def brats(tmp_path: Path) -> Path:
    write_case(tmp_path / "in", "P0")
    return tmp_path / "in"


def weights(folder: Path, description: object, more: object = None) -> Path:
    """A checkpoint with this description, and an entry of any kind."""
    write_model(folder)
    content = torch.load(folder / "models" / "last.pt", weights_only=True)
    torch.save(
        {**content, "description": description, **({"more": more} if more else {})},
        folder / "models" / "last.pt",
    )
    return folder


# Weights.


def test_pickled_code_in_weights_does_not_run(tmp_path: Path, harmed: Path) -> None:
    with pytest.raises(ValueError, match="could run code"):
        Segmenter.from_folder(weights(tmp_path / "model", {}, Touch(harmed)), device="cpu")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "model.pt").write_bytes(pickle.dumps(Touch(harmed)))
    with pytest.raises(ValueError):
        Segmenter.from_folder(tmp_path / "bare", device="cpu")
    assert not harmed.exists()


@pytest.mark.parametrize(
    "description",
    [
        {"sequences": 5},
        {"sequences": ["flair", {"_target_": "os.mkdir"}, "t1ce", "t2"]},
        {**NETWORK, "sequences": list(SEQUENCES), "channels": 10**12},
        {**NETWORK, "sequences": list(SEQUENCES), "rates": "1 2 3"},
        {**NETWORK, "sequences": list(SEQUENCES), "encoder": "$__import__('os').mkdir('harmed')"},
        {**NETWORK, "sequences": list(SEQUENCES), "architecture": ["deeplabv3plus"]},
        "text",
    ],
    ids=["number", "target", "huge", "rates", "expression", "list", "text"],
)
def test_a_description_of_weights_is_data(
    description: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):
        Segmenter.from_folder(weights(tmp_path / "model", description), device="cpu")
    assert not Path("harmed").exists()


# Images.


def test_an_image_larger_than_memory_is_refused_unread(brats: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 30_000))
    header.set_data_dtype(np.float32)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (brats / "P0" / "P0_t1.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(400)))
    (case,) = find_cases_to_segment(brats).cases
    with pytest.raises(InputError, match="P0_t1"):
        read_case(case, SEQUENCES)


def test_a_pipe_in_place_of_an_image_is_not_waited_for(brats: Path) -> None:
    (brats / "P0" / "P0_t1.nii.gz").unlink()
    os.mkfifo(brats / "P0" / "P0_t1.nii.gz")
    (case,) = find_cases_to_segment(brats, say=lambda _: None).cases
    with pytest.raises(InputError, match="P0_t1"):
        read_case(case, list(case.images))


def test_folders_that_hold_each_other_end(brats: Path) -> None:
    (brats / "P0" / "again").symlink_to(brats)
    found = find_cases_to_segment(brats, say=lambda _: None)
    assert "files for flair" in found.problems["P0"] and not found.cases


# Tables and JSON.


def test_a_table_cannot_name_a_case_out_of_the_output(brats: Path, tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    file = brats / "P0" / "P0_flair.nii.gz"
    table.write_text(f"case,flair\n../../etc,{file}\n/tmp/x,{file}\n.,{file}\n")
    found = find_cases_to_segment(table)
    assert not found.cases and len(found.problems) == 3
    listed = [{"case": name, "flair": str(file)} for name in ("a\0b", "../x", "P0")]
    (tmp_path / "cases.json").write_text(json.dumps(listed))
    found = find_cases_to_segment(tmp_path / "cases.json")
    assert [case.name for case in found.cases] == ["P0"] and len(found.problems) == 2


@pytest.mark.parametrize("content", [b"\xff\xfea\0", b'case\n"' + b"x" * 200_000])
def test_a_broken_table_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(InputError, match="cases.csv"):
        read_rows(tmp_path / "cases.csv", ["case"])


@pytest.mark.parametrize(
    "content", [DEEP, '{"format": ' + DEEP, "null", "[1, 2]", '{"a": NaN}', ""]
)
def test_json_of_another_depth_or_kind_is_a_sentence(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("list.json", "split.json", "x.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="list.json"):
        find_cases_to_segment(tmp_path / "list.json")
    with pytest.raises(InputError, match="split.json"):
        split_parts(split_content(tmp_path / "split.json"), tmp_path / "split.json")
    (tmp_path / "x.h5").write_text(content)
    with pytest.raises(InputError, match="x.h5"):
        FeatureFile(tmp_path / "x.h5")
    (tmp_path / "out" / "P0").mkdir(parents=True)
    (tmp_path / "out" / "P0" / "P0.json").write_text(content)
    for command in (follow.main, report.main):
        with pytest.raises(typer.Exit):
            command(tmp_path / "out")
    assert "P0.json is no record of cggm segment" in capsys.readouterr().err


# Texts that a page shows.


def test_names_are_text_in_every_page(brats: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "cases.csv", tmp_path / "out"
    file = brats / "P0" / "P0_flair.nii.gz"
    table.write_text(f'case,flair,subject,date\nA,{file},{SCRIPT},"{SCRIPT}"\n')
    segment.main(table, out, [write_model(tmp_path / "model")])
    record = json.loads((out / "A" / "A.json").read_text())
    record |= {"remarks": [SCRIPT], "untold": {"ET": SCRIPT}, "expected": SCRIPT}
    record["inputs"] = {SCRIPT: {"file": SCRIPT}}
    record["model"] |= {"settings": {"method": SCRIPT, "encoder": SCRIPT}}
    record["findings"] = [
        {"code": SCRIPT, "severity": "error", "sentence": SCRIPT, "remedy": SCRIPT}
    ]
    (out / "A" / "A.json").write_text(json.dumps(record))
    report.main(out)
    for page in (out / "index.html", out / "A" / "A.html"):
        assert SCRIPT not in page.read_text() and "&lt;script&gt;" in page.read_text()


def test_a_record_cannot_point_out_of_its_folder(
    brats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment.main(brats, out, [write_model(tmp_path / "model")])
    record = json.loads((out / "P0" / "P0.json").read_text())
    (out / "P0" / "P0.json").write_text(json.dumps(record | {"mask": "../../in/P0/P0_seg.nii.gz"}))
    with pytest.raises(typer.Exit):
        follow.main(out)
    assert "P0_seg.nii.gz' lies elsewhere" in capsys.readouterr().err


# Feature files and archives.


def test_an_archive_in_place_of_a_feature_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.h5", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../x", bytes(10**7))
    with pytest.raises(InputError, match="x.h5"):
        FeatureFile(tmp_path / "x.h5")


def test_a_pickle_that_runs_code_is_not_mosi(tmp_path: Path, harmed: Path) -> None:
    (tmp_path / "mosi_data.pkl").write_bytes(pickle.dumps({"train": Touch(harmed)}))
    with pytest.raises((InputError, typer.Exit)):
        check.main(tmp_path / "mosi_data.pkl")
    assert not harmed.exists()
