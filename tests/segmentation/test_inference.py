"""From a folder of cases to masks: through MONAI's evaluator, onto the input's own grid."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.data.brats.cases import SEQUENCES, find_cases
from cggm.data.brats.nifti import read_case
from cggm.data.brats.normalization import brain_and_box, normalize
from cggm.data.errors import InputError
from cggm.pipelines.segmentation import (
    CaseDataset,
    DropSmallET,
    MaskWriter,
    SliceBatchInferer,
    SubsetInferer,
    one_case,
)
from cggm.pipelines.segmentation.mask_writer import describe_mask

SHAPE = (12, 14, 9)
# Axes of the file: to the patient's left, up, back; 2 mm, 3 mm, 1 mm.
TURNED = np.array([[-2.0, 0, 0, 11], [0, 0, -1.0, 7], [0, 3.0, 0, -5], [0, 0, 0, 1]])
ENDINGS = {
    "brats2018": ("_flair", "_t1", "_t1ce", "_t2", "_seg"),
    "brats2023": ("-t2f", "-t1n", "-t1c", "-t2w", "-seg"),
}


class Thresholds(nn.Module):
    """A network whose classes follow from FLAIR and T1ce alone; it counts its slices."""

    def __init__(self) -> None:
        super().__init__()
        self.slices: list[int] = []
        self.present: list[Tensor | None] = []

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:
        self.slices.append(len(image))
        self.present.append(present)
        flair, t1ce = image[:, 0], image[:, 2]
        scores = [torch.full_like(flair, 0.5), t1ce - 0.2, flair, t1ce + flair - 0.4]
        return torch.stack(scores, dim=1)


def write_case(
    root: Path,
    name: str,
    *,
    layout: str = "brats2018",
    without: Sequence[str] = (),
    affine: np.ndarray = TURNED,
) -> None:
    """A brain that leaves the first three and last two slices of each axis empty."""
    draws = np.random.default_rng(len(name))
    values = (0, 1, 2, 4) if layout == "brats2018" else (0, 1, 2, 3)
    for key, ending in zip([*SEQUENCES, "seg"], ENDINGS[layout], strict=True):
        array = np.zeros(SHAPE, np.int16)
        if key == "seg":
            array[3:-2, 3:-2, 3:-2] = draws.choice(values, array[3:-2, 3:-2, 3:-2].shape)
        else:
            array[3:-2, 3:-2, 3:-2] = draws.integers(1, 900, array[3:-2, 3:-2, 3:-2].shape)
        if key in without:
            continue
        image = nib.Nifti1Image(array, affine)
        image.set_sform(affine, 2)
        image.set_qform(affine, 1)
        (root / name).mkdir(parents=True, exist_ok=True)
        nib.save(image, root / name / f"{name}{ending}.nii.gz")


def segment(
    root: Path, out: Path, network: nn.Module | None = None, **settings: Any
) -> SupervisedEvaluator:
    """What inference.json builds; further `settings` are those of `find_cases`."""
    smallest_et = settings.pop("smallest_et", 0.0)
    cases = find_cases(root, labels=settings.pop("labels", "optional"), **settings)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(
            CaseDataset(cases, SEQUENCES), batch_size=1, collate_fn=one_case
        ),
        network=network or Thresholds(),
        prepare_batch=PrepareBatchExtraInput({"present": "present"}),
        inferer=SliceBatchInferer(batch_size=2),
        postprocessing=DropSmallET(smallest_et),
        val_handlers=[MaskWriter(str(out))],
        decollate=False,
    )
    evaluator.run()
    return evaluator


def files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def volumes(folder: Path) -> list[dict[str, str]]:
    with open(folder / "volumes.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_case_is_normalized_and_cropped_as_in_training(tmp_path: Path) -> None:
    write_case(tmp_path, "P0")
    cases = find_cases(tmp_path)
    item = CaseDataset(cases, ["t2", "flair"])[0]
    volume = read_case(cases[0], SEQUENCES)
    expected = normalize(volume.images, SEQUENCES)
    _, box = brain_and_box({name: volume.images[name] for name in ("t2", "flair")})
    assert item["read"].box == box
    assert item["present"].tolist() == [[True, True]]
    assert item["image"].shape[:2] == (1, 2)
    for channel, name in enumerate(("t2", "flair")):
        stored = expected[name][box].astype(np.float16)  # as the slices of training are
        assert np.array_equal(item["image"][0, channel].numpy(), stored)


def test_batches_of_slices_equal_a_loop_and_skip_empty_slices() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 4, 6, 5, 9, generator=generator)
    image[0, ..., :4] = 0
    network = Thresholds()
    result = SliceBatchInferer(batch_size=2)(image, network)
    assert result.shape == (2, 1, 6, 5, 9) and result.dtype == torch.uint8
    assert network.slices == [2, 2, 1, 2, 2, 2, 2, 1]  # 5 of 9 slices, then all 9
    reference = Thresholds()
    for volume in range(2):
        for z in range(9):
            logits = reference(image[volume, None, ..., z])
            filled = bool(image[volume, ..., z].any())
            expected = logits.argmax(1)[0] if filled else torch.zeros(6, 5)
            assert torch.equal(result[volume, 0, ..., z], expected.to(torch.uint8))


class Around(nn.Module):
    """Tumor where the slice before is above 1 (class 1) or that after (class 3), by FLAIR alone."""

    neighbors = 1

    def forward(self, image: Tensor, present: Tensor | None = None) -> Tensor:
        before, own, after = image[:, 0], image[:, 1], image[:, 2]
        zero = torch.zeros_like(own)
        return torch.stack([zero, before - 1, zero - 1, after - 1], dim=1)


def test_neighbors_are_seen_in_their_places() -> None:
    volume = torch.full((1, 2, 6, 6, 7), 0.5)
    volume[..., 0] = volume[..., -1] = 0  # outside the brain
    volume[0, 0, ..., 3] = 2
    for inferer in (SliceBatchInferer(2), SubsetInferer(["flair", "t2"], 2)):
        found = inferer(volume, Around())[0, -1, 3, 3]
        assert found.tolist() == [0, 0, 3, 0, 1, 0, 0]
    volume[0, 0, ..., 1] = 2  # the first slice of the brain comes before itself, too
    assert SliceBatchInferer(2)(volume, Around())[0, 0, 3, 3].tolist()[:3] == [0, 1, 1]


def test_an_empty_volume_needs_no_network() -> None:
    network = Thresholds()
    assert not SliceBatchInferer()(torch.zeros(1, 4, 3, 3, 2), network).any()
    assert network.slices == []
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        SliceBatchInferer(0)


def test_presence_reaches_the_network_only_when_something_is_absent() -> None:
    network = Thresholds()
    rows = torch.tensor([[True, True, True, True], [True, False, True, True]])
    SliceBatchInferer(9)(torch.ones(2, 4, 3, 3, 2), network, present=rows)
    assert network.present[0] is None
    assert network.present[1] is not None and network.present[1].tolist() == rows[1].tolist()


@pytest.mark.parametrize(
    ("layout", "convention", "values"),
    [("brats2018", None, [0, 1, 2, 4]), ("brats2023", "brats2023", [0, 1, 2, 3])],
)
def test_a_mask_lies_on_its_input(
    layout: str, convention: str | None, values: list[int], tmp_path: Path
) -> None:
    write_case(tmp_path / "in", "P0", layout=layout)
    segment(tmp_path / "in", tmp_path / "out", label_convention=convention)
    assert files(tmp_path / "out") == ["masks/P0.nii.gz", "overlays/P0.png", "volumes.csv"]
    source = nib.load(tmp_path / "in" / "P0" / f"P0{ENDINGS[layout][0]}.nii.gz")
    mask = nib.load(tmp_path / "out" / "masks" / "P0.nii.gz")
    assert mask.shape == source.shape == SHAPE
    assert np.array_equal(mask.affine, source.affine)
    for code in ("sform_code", "qform_code"):
        assert mask.header[code] == source.header[code]
    assert mask.get_data_dtype() == np.uint8
    assert np.unique(mask.dataobj).tolist() == values

    images = {}
    for name, ending in zip(SEQUENCES, ENDINGS[layout], strict=False):
        path = tmp_path / "in" / "P0" / f"P0{ending}.nii.gz"
        images[name] = np.asarray(nib.load(path).dataobj, np.float32)
    normal = normalize(images, SEQUENCES)
    stack = torch.from_numpy(np.stack([normal[name] for name in SEQUENCES]))
    stack = stack.half().float()
    classes = Thresholds()(stack.movedim(-1, 0)).argmax(1).movedim(0, -1).numpy()
    brain = images["flair"] != 0
    expected = np.array(values)[classes]
    assert np.array_equal(np.asarray(mask.dataobj)[brain], expected[brain])


def test_the_table_has_volumes_and_dice(tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0")
    segment(tmp_path / "in", tmp_path / "out")
    (row,) = volumes(tmp_path / "out")
    mask = np.asarray(nib.load(tmp_path / "out" / "masks" / "P0.nii.gz").dataobj)
    truth = np.asarray(nib.load(tmp_path / "in" / "P0" / "P0_seg.nii.gz").dataobj)
    assert (row["case"], row["sequences"]) == ("P0", "flair+t1+t1ce+t2")
    assert float(row["WT_ml"]) == pytest.approx((mask > 0).sum() * 6 / 1000)  # 2 x 3 x 1 mm
    both, total = ((mask == 4) & (truth == 4)).sum(), (mask == 4).sum() + (truth == 4).sum()
    assert float(row["ET_dice"]) == pytest.approx(200 * both / total, abs=0.006)


def test_without_a_label_there_is_no_dice(tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0", without=["seg"])
    write_case(tmp_path / "in", "P1")
    segment(tmp_path / "in", tmp_path / "out")
    table = volumes(tmp_path / "out")
    assert table[0]["WT_dice"] == "" and float(table[1]["WT_dice"]) > 0
    assert set(describe_mask(np.zeros((2, 2, 2), np.uint8), None, 1.0)) == {
        "WT_ml",
        "TC_ml",
        "ET_ml",
    }


def test_one_broken_case_does_not_stop_the_others(tmp_path: Path) -> None:
    for name in ("P0", "P1", "P2"):
        write_case(tmp_path / "in", name)
    broken = tmp_path / "in" / "P1" / "P1_t1ce.nii.gz"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(InputError, match="1 of 3 cases could not be segmented:") as error:
        segment(tmp_path / "in", tmp_path / "out")
    assert f"case P1: {broken} is a damaged or truncated gzip file" in str(error.value)
    assert files(tmp_path / "out") == [
        "masks/P0.nii.gz",
        "masks/P2.nii.gz",
        "overlays/P0.png",
        "overlays/P2.png",
        "volumes.csv",
    ]
    assert [row["case"] for row in volumes(tmp_path / "out")] == ["P0", "P2"]


def test_when_all_cases_are_broken_nothing_is_written(tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0")
    (tmp_path / "in" / "P0" / "P0_t2.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="1 of 1 case could not be segmented"):
        segment(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_sequence_is_told_to_the_network(tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0", without=["t1", "t2"])
    with pytest.raises(InputError, match="case P0"):
        segment(tmp_path / "in", tmp_path / "out")
    network = Thresholds()
    segment(tmp_path / "in", tmp_path / "out", network, allow_missing=True)
    assert all(p is not None and p.tolist() == [1, 0, 1, 0] for p in network.present)
    assert volumes(tmp_path / "out")[0]["sequences"] == "flair+t1ce"
    assert nib.load(tmp_path / "out" / "masks" / "P0.nii.gz").shape == SHAPE


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    write_case(tmp_path / "in", "P0")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"masks/P0\.nii\.gz cannot be written"):
        segment(tmp_path / "in", tmp_path / "out")


def test_a_bad_label_does_not_keep_a_case_from_being_segmented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case(tmp_path / "in", "P0")
    write_case(tmp_path / "in2", "P0", layout="brats2023")
    label = next((tmp_path / "in2" / "P0").glob("*seg*"))
    label.rename(tmp_path / "in" / "P0" / "P0_seg.nii.gz")  # holds 3, which 2021 has not
    segment(tmp_path / "in", tmp_path / "out")
    assert "the label is not compared: case P0:" in capsys.readouterr().err
    assert "WT_dice" not in volumes(tmp_path / "out")[0]
