"""What does a feature set hold, and what is wrong with it?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...data.errors import InputError
from ...data.features.earlier import refuse_earlier
from ...data.features.feature_set import FeatureSet, check_feature_set, open_feature_set
from ...data.features.file import SUFFIX
from ...data.features.table import SAMPLES
from ...data.published.published_set import Modality, PublishedSet


def check_set(folder: str | Path) -> tuple[str, list[str]]:
    """Print what a feature set holds.

    Returns:
        A line to end with, and every problem.
    """
    refuse_earlier(Path(folder))
    if (Path(folder) / SAMPLES).is_file() and not any(Path(folder).glob(f"*{SUFFIX}")):
        raise InputError(
            f"{folder} has samples but no features yet: extract them from the images and texts "
            f"of {SAMPLES} with cggm extract"
        )
    problems = check_feature_set(folder)
    try:
        found = open_feature_set(folder, labels="optional")
    except InputError as error:
        texts = problems if str(error) in problems else [*problems, str(error)]
        return "it cannot be used", texts
    print("\n".join(_description(found)), flush=True)
    unlabeled = [name for name in found.ids if found.labels[name] is None]
    if len(unlabeled) == len(found.ids):
        problems = [p for p in problems if "no label" not in p]
        end = f"{len(found.ids):,} samples can be predicted; without labels none can train or test"
        return "it cannot be used" if problems else end, problems
    return "it cannot be used" if problems else f"{len(found.ids):,} samples can be used", problems


def _description(found: FeatureSet) -> list[str]:
    rows = [
        {
            "id": name,
            "label": _label(found, name),
            "split": found.splits.get(name, "") or "no split",
        }
        for name in found.ids
    ]
    modalities = {
        name: Modality(file.width, np.asarray(file.lengths).tolist(), lambda: iter(()))
        for name, file in found.files.items()
    }
    as_published = PublishedSet(
        name=f"{found.name}{' (generated)' if found.generated else ''}",
        task=found.task,
        classes=found.classes,
        rows=rows,
        modalities=modalities,
        notes=[],
        files=[],
        settings={},
        source="",
        terms="",
    )
    return as_published.describe()


def _label(found: FeatureSet, name: str) -> str | float | None:
    label = found.labels[name]
    if found.classes is None or label is None:
        return label
    return found.classes[int(label)]
