"""One synthetic head, its scans, and what `cggm prepare` makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("SimpleITK", reason="the extra prepare is not installed")

from cggm.data.phantom.head import Head, make_head
from cggm.pipelines.segmentation.preparation.batch import prepare_cases
from cggm.pipelines.segmentation.preparation.case import Settings
from cggm.pipelines.segmentation.preparation.case_list import find_cases_to_prepare

from .scans import write_scans

SETTINGS = Settings(brain_mask="skullless", spacing=3.0)


@pytest.fixture(scope="session")
def head() -> Head:
    return make_head(0, 3, 3.0)


@pytest.fixture(scope="session")
def scans(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital Müller")
    write_scans(folder / "P01", head, "t1ce", "flair", "t2")
    return folder


@pytest.fixture(scope="session")
def prepared(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run over one case, never changed by a test."""
    output = tmp_path_factory.mktemp("prepared")
    cases, problems = find_cases_to_prepare(scans)
    outcome = prepare_cases(cases, output, SETTINGS, failed=problems)
    assert list(outcome.done) == ["P01"] and not outcome.failed
    return output
