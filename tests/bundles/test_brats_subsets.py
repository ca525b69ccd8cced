"""Subsets of the sequences: their table, and what later masks say of them; other cohorts."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cggm.data.brats.cases import Case, find_cases
from cggm.data.brats.checks import voxel_sizes
from cggm.data.brats.conventions import REGION_CLASSES
from cggm.data.brats.nifti import read_case
from cggm.data.brats.normalization import brain_and_box
from cggm.pipelines.commands.failures import explain
from cggm.pipelines.segmentation import Segmenter
from cggm.pipelines.segmentation.scoring import (
    Regions,
    ScoringRules,
    expected_calibration_error,
    score_labels,
)

from .conftest import Bundle


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def copied(case: Case, root: Path, name: str, sequences: tuple[str, ...] | None = None) -> Path:
    """A folder of its own for some of a case's files, under another name."""
    folder = root / name
    folder.mkdir(parents=True)
    sources = {**case.images, **({} if case.label is None else {"seg": case.label})}
    for key, source in sources.items():
        if sequences is None or key in sequences:
            (folder / f"{name}_{key}.nii.gz").write_bytes(source.path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def evaluated(brats: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A training whose validation part was evaluated with all subsets."""
    out = tmp_path_factory.mktemp("subsets")
    brats.run(
        "train.json", out, lr=1e-4, modality_dropout=0.0
    )  # hardly trained: it predicts all classes
    brats.run("evaluate.json", out, part="val", subsets=True)
    return out, brats


def test_every_subset_has_a_row_and_equals_inference(
    evaluated: tuple[Path, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, brats = evaluated
    rows = table(out / "evaluation" / "subsets.csv")
    assert [row["sequences"] for row in rows][:4] == ["t2", "t1ce", "t1", "flair"]
    assert rows[-1]["sequences"] == "flair+t1+t1ce+t2" and len({r["sequences"] for r in rows}) == 15
    kept = json.loads((out / "models" / "subsets.json").read_text())
    assert set(kept["counter_intuitive"]) == {"what", "WT", "TC", "ET"}
    (whole,) = table(out / "evaluation" / "evaluation.csv")
    for region in ("WT", "TC", "ET"):
        assert float(rows[-1][f"{region}_dice"]) == float(whole[f"volumetric_{region}"])

    (case,) = (c for c in find_cases(brats.data["dataset_dir"]) if c.name == whole["case"])
    copied(case, tmp_path / "in", case.name, ("flair", "t2", "seg"))
    capsys.readouterr()
    brats.run(
        "inference.json",
        out,
        dataset_dir=str(tmp_path / "in"),
        allow_missing=True,
    )
    printed = capsys.readouterr().out
    (row,) = table(out / "volumes.csv")
    expected = next(r for r in rows if r["sequences"] == "flair+t2")
    assert row["sequences"] == "flair+t2"
    assert float(row["WT_dice"]) == pytest.approx(float(expected["WT_dice"]), abs=1e-6)
    assert float(row["TC_dice"]) == pytest.approx(float(expected["TC_dice"]), abs=1e-6)
    assert row["ET_ml"] == row["ET_dice"] == "" != row["WT_ml"]
    assert row["remark"].startswith("ET not reliable without t1ce")
    assert row["expected"] == (
        f"WT Dice {float(expected['WT_dice']):.1f}, TC Dice {float(expected['TC_dice']):.1f}, ET "
        "not reliable without t1ce; measured on 1 case of synthetic gliomas (no patients) of the "
        "folder "
        f"{Path(brats.data['dataset_dir']).name}"
    )
    untrained = "this network was never trained without t1 and t1ce, so what it says without them"
    assert untrained in row["remark"]
    assert f"flair+t2: {row['expected']}; {untrained}" in printed and "ET –" in printed


def test_hd95_and_calibration_are_those_of_the_whole_volume(
    evaluated: tuple[Path, Bundle], tmp_path: Path
) -> None:
    """Of slices and boxes in the evaluation; here of the mask on the grid of the files."""
    out, brats = evaluated
    rows = {row["sequences"]: row for row in table(out / "evaluation" / "subsets.csv")}
    (whole,) = table(out / "evaluation" / "evaluation.csv")
    (case,) = (c for c in find_cases(brats.data["dataset_dir"]) if c.name == whole["case"])
    segmenter = Segmenter.from_folder(out)
    volume = read_case(case, ("flair", "t1", "t1ce", "t2"))
    assert volume.label is not None
    for subset in (("flair", "t2"), ("flair", "t1", "t1ce", "t2")):
        images = {name: volume.images[name] for name in subset}
        result = segmenter.segment(images, volume.affine, probabilities=True)
        assert result.probabilities is not None
        sizes = voxel_sizes(volume.affine).tolist()
        rules = ScoringRules(empty_regions="brats2021")
        scores = score_labels(
            result.classes, volume.label, Regions("brats2023"), spacing=sizes, rules=rules
        )
        row, (brain, _) = rows["+".join(subset)], brain_and_box(images)
        for region, classes in REGION_CLASSES.items():
            for figure in ("hd95_mm", "hd95_median_mm"):
                measured = float(row[f"{region}_{figure}"])
                assert measured == pytest.approx(scores[region].hd95_mm, abs=6e-3)
            likely = result.probabilities[list(classes)].sum(0).clip(max=1)
            true = np.isin(volume.label, classes)
            error = 100 * expected_calibration_error(likely, true, within=brain)
            assert float(row[f"{region}_ece"]) == pytest.approx(error, abs=2e-3)
    summary = json.loads((out / "evaluation" / "evaluation.json").read_text())
    assert summary["calibration"]["WT"]["mean"] == pytest.approx(float(row["WT_ece"]), abs=6e-3)


def test_other_weights_than_the_evaluated_ones_are_unknown(
    evaluated: tuple[Path, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, brats = evaluated
    case = find_cases(brats.data["dataset_dir"])[0]
    copied(case, tmp_path / "in", case.name, ("flair", "t1ce"))
    settings = {"dataset_dir": str(tmp_path / "in"), "allow_missing": True, "overlays": False}
    weights = str(out / "models" / "model.pt")
    brats.run("inference.json", tmp_path / "out", ckpt_path=weights, **settings)
    assert "flair+t1ce: Dice unknown, these weights were never eval" in capsys.readouterr().out
    assert table(tmp_path / "out" / "volumes.csv")[0]["ET_ml"] != ""


def test_a_cohort_is_evaluated_whole_and_voxels_are_compared(
    evaluated: tuple[Path, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, brats = evaluated
    cases = find_cases(brats.data["dataset_dir"])
    for number in range(2):
        folder = copied(cases[number], tmp_path / "in", f"Other_{number}")
        for file in folder.iterdir():  # the second has voxels of 3 mm
            image = nib.load(file)
            affine = image.affine @ np.diag([0.75, 0.75, 0.75, 1]) if number else image.affine
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), file)
    settings = {"dataset_dir": str(tmp_path / "in"), "ckpt_path": str(out / "models" / "last.pt")}
    brats.run("evaluate.json", tmp_path / "out", part="all", **settings)
    remark = "voxels of 3 x 3 x 3 mm, trained at 4 x 4 x 4 mm"
    rows = table(tmp_path / "out" / "evaluation" / "evaluation.csv")
    assert [(row["case"], row["remark"]) for row in rows] == [("Other_0", ""), ("Other_1", remark)]
    assert not (tmp_path / "out" / "split.json").exists()
    assert f"warning: 1 of 2 cases, such as Other_1: {remark}" in capsys.readouterr().err
    brats.run("inference.json", tmp_path / "out", overlays=False, **settings)
    segmented = table(tmp_path / "out" / "volumes.csv")
    assert remark in segmented[1]["remark"] and remark not in segmented[0]["remark"]
    for row, other in zip(rows, segmented, strict=True):
        assert float(row["volumetric_WT"]) == pytest.approx(float(other["WT_dice"]), abs=1e-6)


def test_a_cohort_with_training_patients_is_refused(
    evaluated: tuple[Path, Bundle], tmp_path: Path
) -> None:
    out, brats = evaluated
    with pytest.raises(RuntimeError) as error:
        brats.run("evaluate.json", out, part="all")
    message = explain(error.value)
    assert message is not None and "4 of the 6 samples of the part all were trained on" in message
    assert "leave them out of the folder" in message


def test_specks_change_no_mask(evaluated: tuple[Path, Bundle], tmp_path: Path) -> None:
    """Stray voxels of value 1 beside the brain, one of them touching it."""
    out, brats = evaluated
    case = find_cases(brats.data["dataset_dir"])[0]
    copied(case, tmp_path / "in", "A_clean")
    folder = copied(case, tmp_path / "in", "B_specks")
    path = folder / "B_specks_t1.nii.gz"
    image = nib.load(path)
    array = np.asarray(image.dataobj).copy()
    inside = np.any([np.asarray(nib.load(s.path).dataobj) != 0 for s in case.images.values()], 0)
    x, y, z = (int(i) for i in np.argwhere(inside)[np.argwhere(inside)[:, 0].argmax()])
    places = [(x + gap, y, z) for gap in (1, 3) if x + gap < array.shape[0]]
    assert places, "there is room beside the brain"
    for place in places:
        array[place] = 1
    nib.save(nib.Nifti1Image(array, image.affine, image.header), path)
    weights = str(out / "models" / "last.pt")
    settings = {"dataset_dir": str(tmp_path / "in"), "ckpt_path": weights, "overlays": False}
    brats.run("inference.json", tmp_path / "out", **settings)
    clean, specks = (
        np.asarray(nib.load(tmp_path / "out" / "masks" / f"{name}.nii.gz").dataobj)
        for name in ("A_clean", "B_specks")
    )
    assert clean.any() and (clean != specks).mean() < 1e-4
    first, second = table(tmp_path / "out" / "volumes.csv")
    assert float(second["WT_ml"]) == pytest.approx(float(first["WT_ml"]), rel=0.005)
