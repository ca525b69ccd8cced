"""A small model, two cases in the form of BraTS, and what a run makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cggm.pipelines.segmentation.batch.case import Settings, Tool
from cggm.pipelines.segmentation.trained import weights_in

from ...data.brains import write_case
from .models import write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a training, never changed by a test."""
    return write_model(tmp_path_factory.mktemp("model") / "trained", ("flair", "t1ce"))


@pytest.fixture(scope="session")
def tool(model: Path) -> Tool:
    return Tool(weights_in(model), Settings(), "cpu")


@pytest.fixture
def brats(tmp_path: Path) -> Path:
    """Two cases of BraTS, in a folder that is named after a patient."""
    folder = tmp_path / "Müller Anna"
    for number in range(2):
        write_case(folder, f"P{number}", number)
    return folder
