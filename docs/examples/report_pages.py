"""Pages of synthetic cases, with the true mask where a prediction would be.

python docs/examples/report_pages.py OUT
python docs/examples/report_pages.py OUT --spacing 1    # as fine as BraTS; takes minutes
"""

import argparse
import json
import tempfile
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np

from cggm.data.brats.cases import SEQUENCES, find_cases
from cggm.data.brats.conventions import REGION_CLASSES
from cggm.data.brats.nifti import read_case
from cggm.data.phantom import generate
from cggm.pipelines.segmentation.report import write_reports

SUBSETS = (("flair", "t1", "t1ce", "t2"), ("flair", "t1ce"), ("flair", "t2"))


def write_case(out: Path, volume, sequences: tuple[str, ...]) -> None:
    """Leave the view and the record of a case, as `cggm segment` does."""
    inside = np.argwhere(np.any([image != 0 for image in volume.images.values()], axis=0))
    low, high = np.maximum(inside.min(0) - 4, 0), inside.max(0) + 5
    box = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    folder = out / volume.name
    (folder / "view").mkdir(parents=True)
    for name in sequences:
        image = volume.images[name][box]
        first, last = np.percentile(image[image != 0], (1, 99))
        gray = 1 + 254 * np.clip((image - first) / (last - first), 0, 1)
        shown = np.where(image != 0, gray, 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(shown, affine), folder / "view" / f"{name}.nii.gz")
    mask = volume.label[box].astype(np.uint8)
    if "t1ce" not in sequences:
        mask[mask == 3] = 1  # as BraTS networks here do: without contrast nothing enhances
    nib.save(nib.Nifti1Image(mask, affine), folder / "view" / "mask.nii.gz")
    volumes = {
        region: round(float(np.isin(mask, classes).sum() * volume.voxel_ml), 1)
        for region, classes in REGION_CLASSES.items()
    }
    untold = {} if "t1ce" in sequences else {"ET": "ET cannot be told without t1ce"}
    record = {
        "format": 1,
        "case": volume.name,
        "subject": volume.name,
        "sequences": sequences,
        "volumes_ml": volumes | dict.fromkeys(untold),
        "untold": untold,
        "remarks": ["synthetic case; the mask is the true one, not a prediction"],
        "label_convention": "brats2021",
        "versions": {name: version(name) for name in ("cggm", "torch", "monai")},
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    (folder / f"{volume.name}.json").write_text(json.dumps(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--spacing", type=float, default=2.0, help="voxels in mm, 1 to 4")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        phantoms = generate(folder + "/cases", cases=len(SUBSETS), spacing=arguments.spacing)
        cases = find_cases(phantoms, layout="brats2018")
        for case, sequences in zip(cases, SUBSETS, strict=True):
            write_case(arguments.out, read_case(case, SEQUENCES), sequences)
    write_reports(arguments.out)


if __name__ == "__main__":
    main()
