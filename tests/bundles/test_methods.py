"""Does every method train on every bundle that it covers?"""

from pathlib import Path
from typing import Any

import pytest
import torch

from cggm.pipelines.methods import CATALOGUE

from .conftest import Bundle

TASK_OF = {
    "brats": "segmentation",
    "food101": "classification",
    "iemocap": "classification",
    "mosi": "regression",
}


def final(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "models" / "last.pt", weights_only=True)["network"]


@pytest.mark.parametrize("method", sorted(set(CATALOGUE) - {"cggm"}))
def test_trains_and_evaluates(method: str, bundle: Bundle, tmp_path: Path) -> None:
    kind = CATALOGUE[method]
    settings: dict[str, Any] = {"method": method, "val_interval": 1}
    if kind.teachers_by is not None:
        bundle.run("train.json", tmp_path / "teachers", method=kind.teachers_by)
    if TASK_OF[bundle.name] not in kind.published | kind.extended:
        with pytest.raises(RuntimeError, match="train::trainer"):
            bundle.run("train.json", tmp_path, **settings)
        return
    bundle.run("train.json", tmp_path, epochs=2, **settings)
    assert all(bool(value.isfinite().all()) for value in final(tmp_path).values())
    options = {} if bundle.name != "brats" else {"late_fusion": kind.late_fusion}
    bundle.run("evaluate.json", tmp_path, **options)
    assert (tmp_path / "evaluation" / "evaluation.json").is_file()
