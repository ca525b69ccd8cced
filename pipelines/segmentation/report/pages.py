"""The pages as HTML: self-contained, from templates that escape whatever a record says."""

from __future__ import annotations

import base64
import gzip
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ....data.brats.conventions import CLASSES, told_in
from ....data.files import write_text
from .methods_text import methods_text
from .picture import ENDS, OUTLINES, PLANES, draw_picture
from .records import SEVERITIES, Record
from .views import View, read_view

MOST_BYTES = 10 * 2**20  # of the images in a page, so that it stays below 12 MB
CAVITY_NAME = {"RC": "resection cavity"}  # only where the network tells it
REGION_NAMES = {"WT": "whole tumor", "TC": "tumor core", "ET": "enhancing tumor", **CAVITY_NAME}
CLASS_NAMES = {"NCR": "necrotic core", "ED": "edema", "ET": "enhancing tumor", **CAVITY_NAME}
_FOLDER = Path(__file__).parent / "templates"
_TOLD = ("method", "architecture", "sequences", "modality_dropout", "encoder", "patch_size")


def write_case_page(folder: Path, record: Record) -> Path:
    """Write the page of a case, ``<case>.html``, from its record and the files in ``view/``.

    Args:
        folder: of the case, or the one in which it is being made.
        record: of the case.

    Returns:
        The page.

    Raises:
        InputError: a file of ``view/`` is missing or damaged, or the page cannot be written.
    """
    page = folder / f"{record.case}.html"
    write_text(page, case_html(record, read_view(folder, record.sequences)))
    return page


def case_html(record: Record, view: View) -> str:
    """The page of one case."""
    script, regions = _script("viewer.js"), list(record.volumes_ml)
    colors = {name: OUTLINES[name] for name in CLASS_NAMES if name != "RC" or name in regions}
    data, step = _embedded(view, regions, colors)
    return (
        _templates()
        .get_template("case.html")
        .render(
            record=record,
            findings=sorted(record.findings, key=lambda f: SEVERITIES.index(f.severity)),
            told={key: _plain(record.settings[key]) for key in _TOLD if record.settings.get(key)},
            regions={region: REGION_NAMES[region] for region in regions},
            empty=[region for region in regions if not view.region(region).any()],
            sequence_for={region: view.sequence_for(region) for region in regions},
            step=step,
            data=data,
            picture=base64.b64encode(draw_picture(view, regions)).decode(),
            class_names=CLASS_NAMES,
            colors=colors,
            script=script,
            script_digest=_digest(script),
        )
    )


def overview_html(
    records: Sequence[Record],
    failed: Sequence[Mapping[str, str]],
    *,
    title: str,
    linked: Collection[str],
    preparations: Mapping[str, Mapping[str, Any]],
) -> str:
    """The page of a batch.

    Args:
        records: of the cases; the gravest findings come first on the page.
        failed: case, stage and reason of those that failed.
        title: what the batch is called.
        linked: cases that have a page.
        preparations: records of ``cggm prepare``, by case.
    """
    script = _script("overview.js")
    order = {level: number for number, level in enumerate((*SEVERITIES, ""))}
    return (
        _templates()
        .get_template("overview.html")
        .render(
            title=title,
            regions=told_in({region for record in records for region in record.volumes_ml}),
            records=sorted(records, key=lambda r: (order[r.level], r.case)),
            failed=failed,
            sequences=list(dict.fromkeys(s for record in records for s in record.sequences)),
            methods=methods_text(records, preparations),
            linked=linked,
            script=script,
            script_digest=_digest(script),
        )
    )


def _embedded(
    view: View, regions: Sequence[str], colors: Mapping[str, str]
) -> tuple[dict[str, Any], int]:
    """What the viewer reads, thinned until it is small enough, and every which voxel it shows."""
    step = 1
    while True:
        shown = view if step == 1 else view.thinned(step)
        images = {name: _packed(image) for name, image in shown.images.items()}
        if sum(map(len, images.values())) <= MOST_BYTES:
            break
        step += 1
    return {
        "shape": shown.mask.shape,
        "spacing": shown.spacing,
        "affine": shown.affine.tolist(),
        "images": images,
        "mask": _packed(shown.mask),
        "planes": PLANES,
        "ends": ENDS,
        "classes": [[CLASSES.index(name), name, color] for name, color in colors.items()],
        "places": {r: [shown.sequence_for(r), shown.place_of(r)] for r in regions},
    }, step


def _packed(volume: np.ndarray) -> str:
    """Bytes with X running fastest, compressed, as text."""
    return base64.b64encode(gzip.compress(volume.tobytes(order="F"), 6, mtime=0)).decode()


def _script(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """The only script that the page's own security policy lets run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.policies["json.dumps_kwargs"] = {"sort_keys": False}
    templates.filters["number"] = _number
    templates.filters["percent"] = lambda share: _number(None if share is None else 100 * share)
    templates.filters["sentence"] = lambda text: text if text[-1:] in ".!?" else f"{text}."
    templates.filters["link"] = lambda case: quote(f"{case}/{case}.html")
    return templates


def _number(value: float | None, form: str = "%.1f") -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else form % value


def _plain(value: object) -> str:
    """A setting as words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {of}" for key, of in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
