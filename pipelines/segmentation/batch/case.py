"""One case on its way: read, prepared where needed, checked, segmented, written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ....data.brats.cases import Case, Source
from ....data.brats.nifti import Volume, read_case, read_images, volume_of_images, write_mask
from ....data.errors import InputError, some
from ....data.extras import optional
from ....data.files import whole_folder, write_json
from ....data.identity import digest
from ....data.patients import patient_of
from ...handlers.checkpoint_file import TRAINED_ON, Weights
from ..one_by_one import is_replaceable, tables_lock
from ..output_folder import FORMAT, PREPARED, corrected_masks, record_file
from ..outputs import mask_convention
from ..overlays import draw_overlay
from ..quality import Finding, check_case
from ..quality.findings import BEFOREHAND, by_severity, finding
from ..reliability import (
    digests,
    expected_figures,
    joined,
    trained_grid,
    untold_regions,
)
from ..report import record_of, write_case_page
from ..segmenter import Segmentation, Segmenter
from .cases import Told
from .need import reason_to_prepare
from .record import CaseRecord, changed_files, described_inputs, read_record
from .view import write_view

_OF_MODEL = (
    *("method", "architecture", "encoder", "sequences", "modality_dropout", "missing"),
    *("late_fusion", "neighbors", "outputs", "patch_size", "smallest_et"),
)


@dataclass(frozen=True)
class Settings:
    """What a user may choose.

    Attributes:
        prepare: "auto" prepares the cases that need it.
        brain_mask: as in `cggm prepare`.
        accurate: likewise.
        spacing: likewise.
        label_convention: of the masks; None takes that of each case's layout, or one with a value
            for the resection cavity where the network tells it.
        flips: the mean over flips of the images.
        strict: a case with an error among its findings fails.
    """

    prepare: Literal["auto", "always", "never"] = "auto"
    brain_mask: str | None = None
    accurate: bool = False
    spacing: float = 1.0
    label_convention: str | None = None
    flips: bool = False
    strict: bool = False


class Tool:
    """A network with all that its records say of it.

    Args:
        weights: of the network, or of several.
        settings: the user's.
        device: where it computes.

    Raises:
        InputError: there is no such model, or the label convention has no value for a class of it.
    """

    def __init__(self, weights: Weights, settings: Settings, device: str | None = None) -> None:
        self.segmenter = Segmenter.from_folder(weights, device=device, flips=settings.flips)
        self.settings = settings
        if settings.label_convention is not None:
            mask_convention(self.segmenter.outputs, settings.label_convention, "brats2021")
        trained, found = self.segmenter.trained, digests(weights)
        told = {name: trained[name] for name in _OF_MODEL if name in trained}
        self.model: dict[str, Any] = {
            "sha256": [found] if isinstance(found, str) else found,
            "settings": json.loads(json.dumps(told)),  # as a record gives it back, without tuples
        }

    def convention(self, case: Case) -> str:
        """The label convention of the masks of a case."""
        chosen, usual = self.settings.label_convention, case.mask_convention
        return mask_convention(self.segmenter.outputs, chosen, usual)

    def told(self, case: Case, told: Told) -> Told:
        """Add to what is told of a case that the network was trained on its patient."""
        known = self.segmenter.trained.get(TRAINED_ON) or ()
        seen = [name for name in (patient_of(case.name), told.subject) if digest(name) in known]
        if not seen:
            return told
        sentence = f"the network was trained on a patient of this name ({seen[0]})"
        return told._replace(findings=(*told.findings, finding("trained_on", sentence)))


class Stages:
    """Where a case is, and the seconds that each stage took.

    Args:
        say: gets a line when something begins that takes minutes.
    """

    def __init__(self, say: Callable[[str], object] = print) -> None:
        self.current, self.say = "find", say
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Be in a stage until the block ends."""
        self.current, start = name, time.perf_counter()
        yield
        key = "network" if name == "segment" else name
        spent = time.perf_counter() - start
        self.seconds[key] = round(self.seconds.get(key, 0) + spent, 2)


def segment_case(case: Case, output: Path, tool: Tool, stages: Stages, told: Told) -> CaseRecord:
    """Segment one case into a folder of `output`, in place of an earlier result.

    Args:
        case: its sequences are the network's.
        output: the folder of all.
        tool: what segments.
        stages: tells the caller where it failed.
        told: what is known of it without its images.

    Raises:
        InputError: it cannot be segmented.
    """
    target = output / case.name
    _replaceable(target)
    volume, findings, prepared = _volume(case, output, tool, stages)
    findings = by_severity([*told.findings, *findings])
    with stages("read"):
        inputs = described_inputs(case)
    with stages("check"):
        if tool.settings.strict:
            _refuse_errors(case, findings)
    with stages("segment"):
        result, classes = tool.segmenter.segment_volume(volume)
    with whole_folder(target, replace=_replaceable) as folder:
        with stages("write"):
            _write_files(folder, volume, classes, result, tool.convention(case))
            native_masks = (
                {}
                if prepared is None
                else _native_masks(folder, case.name, output / PREPARED / case.name)
            )
        untold = untold_regions(result.sequences)
        record: CaseRecord = {
            "format": FORMAT,
            "case": case.name,
            "subject": told.subject,
            "date": told.date,
            "sequences": list(result.sequences),
            "prepared": prepared is not None,
            "volumes_ml": {
                region: None if region in untold else round(ml, 3)
                for region, ml in result.volumes.items()
            },
            "expected_dice": expected_figures(tool.segmenter.table, result.sequences),
            "expected": result.expected,
            "untold": untold,
            "remarks": [
                *(remark for remark in result.remarks if remark not in untold.values()),
                *(prepared or []),
            ],
            "findings": [each.as_dict() for each in findings],
            "confidence": result.confidence,
            "label_convention": tool.convention(case),
            "mask": f"{case.name}_mask.nii.gz",
            "native_masks": native_masks,
            "inputs": inputs,
            "model": tool.model,
            "settings": asdict(tool.settings),
            "versions": {name: version(name) for name in ("cggm", "torch", "monai")},
            "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
            "seconds": stages.seconds,
            "files": {
                path.relative_to(folder).as_posix(): path.stat().st_size
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            },
        }
        with stages("write"):
            write_case_page(folder, record_of(record))  # `cggm report` may write it anew
        write_json(folder / f"{case.name}.json", record)
    return record


def tell_anew(folder: Path, told: Told) -> None:
    """Bring the record and the page of a finished case up to what is known of it today."""
    record, now = read_record(folder), [each.as_dict() for each in told.findings]
    others = [each for each in record["findings"] if each["code"] not in BEFOREHAND]
    findings, corrected = [*now, *others], corrected_masks(folder, record)
    anew = sorted(findings, key=str) != sorted(record["findings"], key=str)
    if anew:
        record["findings"] = findings
        write_json(record_file(folder), record)
    if anew or corrected:
        write_case_page(folder, record_of(record, corrected))


def _volume(
    case: Case, output: Path, tool: Tool, stages: Stages
) -> tuple[Volume, list[Finding], list[str] | None]:
    """Read and check a case, prepared where it needs it, with the remarks of its preparation."""
    settings, trained = tool.settings, tool.segmenter.trained
    with stages("read"):
        images = read_images(case, list(case.images))
        why = reason_to_prepare(images) if settings.prepare == "auto" else None
        volume = None
        if settings.prepare == "never" or (settings.prepare == "auto" and why is None):
            volume = volume_of_images(case, images)
    del images
    if volume is not None:
        with stages("check"):
            findings = check_case(volume, trained)
        skull = next((each for each in findings if each.code == "not_stripped"), None)
        if skull is None or settings.prepare == "never":
            return volume, findings, None
        why = skull.sentence
    with stages("prepare"):
        folder, remarks = _prepared(case, output / PREPARED, settings, why, stages.say)
    with stages("read"):
        files = {name: Source(folder / f"{case.name}_{name}.nii.gz") for name in case.images}
        volume = read_case(replace(case, images=files, label=None), list(files))
    with stages("check"):
        return volume, check_case(volume, trained), remarks


def _refuse_errors(case: Case, findings: Sequence[Finding]) -> None:
    errors = [f"{each.sentence}: {each.remedy}" for each in findings if each.severity == "error"]
    if errors:
        raise InputError(f"case {case.name}: {'; '.join(errors)}")


def _prepared(
    case: Case, output: Path, settings: Settings, why: str | None, say: Callable[[str], object]
) -> tuple[Path, list[str]]:
    """Prepare a case, or find it prepared; give its folder, and what was odd."""
    reason = "--prepare always" if why is None else why
    optional("SimpleITK", "prepare", f"case {case.name}: {reason}; registrations")
    from ..preparation.batch import prepare_case, write_table
    from ..preparation.case import Settings as Preparation
    from ..preparation.record import is_finished, read_record

    chosen = Preparation(settings.brain_mask, settings.accurate, settings.spacing)
    folder = output / case.name
    if is_finished(case, folder, chosen):
        record = read_record(folder)
    else:
        say(f"{case.name} is prepared first: {reason}")
        record = prepare_case(case, output, chosen)
        with tables_lock(output):
            write_table(output)
    return folder, [*record["warnings"], *record["notes"]]


def _write_files(
    folder: Path, volume: Volume, classes: NDArray[np.uint8], result: Segmentation, convention: str
) -> None:
    """Write the mask on the grid of the images that the network saw, the picture, the view."""
    write_mask(classes, volume.native, folder / f"{volume.name}_mask.nii.gz", convention)
    draw_overlay(
        folder / f"{volume.name}.png",
        volume.images,
        classes,
        title=f"{volume.name} (research use only)",
        voxel_ml=volume.voxel_ml,
        untold=untold_regions(volume.images),
        regions=tuple(result.volumes),
        note=f"{joined(volume.images)}: {result.expected}",
    )
    write_view(folder, volume.images, classes, volume.affine)


def _native_masks(folder: Path, case: str, prepared: Path) -> dict[str, str]:
    """Write the mask on the grid of each original image; give the names by sequence."""
    from ..preparation.restoration import restore_mask

    written = restore_mask(folder / f"{case}_mask.nii.gz", prepared, folder)
    return {path.name[len(case) + 1 : -len("_mask.nii.gz")]: path.name for path in written}


def _replaceable(target: Path) -> bool:
    if changed := changed_files(target):
        raise InputError(
            f"{some(changed, 3)} in {target} was changed after cggm segment wrote it: to segment "
            "this case again, move it to another folder"
        )
    return is_replaceable(target, "segmented case", FORMAT)


def usual_spacing(weights: Weights) -> float:
    """The voxels to prepare images on: those of the training where they are cubes, else 1 mm."""
    sizes = trained_grid(weights).get("voxel_mm") or [1.0]
    is_cube = max(sizes) <= 1.05 * min(sizes) and 0.5 <= min(sizes) <= max(sizes) <= 4
    return round(sum(sizes) / len(sizes), 2) if is_cube else 1.0
