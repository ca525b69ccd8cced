"""One browser for all tests of pages, and an output folder with their cases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cggm.pipelines.segmentation.report import write_reports

from .browser import CHROMIUM, Browser, chromium
from .output_folder import finding, write_case

# As hostile as a name can be that Linux and Windows' zip tools let through.
HOSTILE = "P03<img src=x onerror=hacked()>&'\"%23"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without WebGL, as on many remote desktops of hospitals."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    profile = tmp_path_factory.mktemp("browser")
    with chromium(profile, "--disable-3d-apis") as running:
        yield running


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cases and one that failed, with their pages."""
    out = tmp_path_factory.mktemp("batch") / "out"
    write_case(out, "P01")
    write_case(out, "P02", ("flair", "t2"), findings=[finding("warning")])
    write_case(
        out,
        HOSTILE,
        ("flair", "t1", "t1ce", "t2"),
        date="2024-03-01",
        findings=[finding("note"), finding("error", "not_stripped", sentence="</script><b>skull")],
    )
    write_case(out, "P04", volumes_ml={"WT": 5.5, "TC": 0.0, "ET": 0.0})
    (out / "failed.csv").write_text(
        'case,stage,reason\nP09,read,"<script>hacked()</script> t1ce is damaged"\n'
    )
    write_reports(out, say=lambda line: None)
    return out
