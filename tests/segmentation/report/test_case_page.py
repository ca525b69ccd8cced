"""The page of a case in a browser: three linked planes, and the still picture in their place."""

import time
from pathlib import Path
from typing import Any

import pytest

from cggm.pipelines.segmentation.report.picture import OUTLINES

from .browser import Browser, chromium
from .conftest import HOSTILE
from .output_folder import PLACE, SHAPE, busiest, volumes

MASK = volumes()[1]
WT, ET = busiest(MASK > 0), busiest(MASK == 3)
AXIAL, SAGITTAL = "#axial-canvas", "#sagittal-canvas"


def open_case(browser: Browser, output: Path, case: str, width: int = 1280) -> None:
    browser.open(output / case / f"{case}.html", width)
    browser.wait("document.body.classList.contains('live')")


def state(browser: Browser) -> dict[str, Any]:
    """What the viewer shows: slices of the planes, sequence, words below."""
    return browser.tell(
        "({slices: ['sagittal', 'coronal', 'axial'].map(id => +document.getElementById(id).value),"
        "sequence: document.querySelector('#sequences [aria-pressed=true]').value,"
        "where: document.querySelector('.where').textContent})"
    )


def near(browser: Browser, canvas: str, color: str) -> dict[str, Any]:
    """How many pixels of a canvas have a color, and their middle as shares of its size."""
    return browser.tell(
        f"""(() => {{
        const canvas = document.querySelector('{canvas}'), {{ width: w, height: h }} = canvas;
        const data = canvas.getContext('2d').getImageData(0, 0, w, h).data;
        const wanted = [1, 3, 5].map(i => parseInt('{color}'.slice(i, i + 2), 16));
        let count = 0, x = 0, y = 0;
        for (let i = 0; i < w * h; i++)
          if (wanted.every((value, part) => Math.abs(data[4 * i + part] - value) < 30)) {{
            count++; x += (i % w) / w; y += Math.floor(i / w) / h;
          }}
        return {{ count, x: x / count, y: y / count }};
        }})()"""
    )


def until_gone(browser: Browser, color: str) -> None:
    """Wait until no pixel of the axial slice has a color: a busy browser draws when it can."""
    until = time.monotonic() + 30
    while near(browser, AXIAL, color)["count"]:
        assert time.monotonic() < until, f"{color} is still drawn"
        time.sleep(0.02)


def test_it_begins_where_most_of_the_prediction_is(browser: Browser, output: Path) -> None:
    open_case(browser, output, "P01")
    assert state(browser)["slices"] == WT
    assert state(browser)["sequence"] == "flair"
    assert state(browser)["where"].endswith("NCR")
    assert browser.requests() == [(output / "P01" / "P01.html").resolve().as_uri()]
    assert browser.complaints() == []
    assert not browser.tell("document.querySelector('figure').offsetParent")


def test_radiological_convention(browser: Browser, output: Path) -> None:
    """The tumor is in the patient's left and front: on the right and above."""
    open_case(browser, output, "P01")
    edema = near(browser, AXIAL, OUTLINES["ED"])
    assert edema["count"] > 100
    assert edema["x"] == pytest.approx(1 - (PLACE[0] + 0.5) / SHAPE[0], abs=0.02)
    assert edema["y"] == pytest.approx(1 - (PLACE[1] + 0.5) / SHAPE[1], abs=0.02)


def test_slices_by_slider_wheel_and_click(browser: Browser, output: Path) -> None:
    open_case(browser, output, "P01")
    browser.tell("document.getElementById('axial').focus()")
    browser.press("ArrowRight")
    assert state(browser)["slices"][2] == WT[2] + 1
    browser.scroll(AXIAL, 3)
    assert state(browser)["slices"][2] == WT[2] - 2
    browser.click(AXIAL, 10.5 / SHAPE[0], 36.5 / SHAPE[1])  # the patient's right, back
    assert state(browser)["slices"][:2] == [SHAPE[0] - 11, SHAPE[1] - 37]
    assert near(browser, SAGITTAL, OUTLINES["ED"])["count"] == 0
    assert state(browser)["where"].endswith("no tumor")
    browser.click("#axial", 0.98, 0.5)
    assert state(browser)["slices"][2] >= SHAPE[2] - 2


def test_sequences_regions_and_classes(browser: Browser, output: Path) -> None:
    open_case(browser, output, HOSTILE)
    before = browser.tell(f"document.querySelector('{AXIAL}').toDataURL()")
    browser.click("#sequences button[value=t2]")
    assert state(browser)["sequence"] == "t2"
    assert browser.tell(f"document.querySelector('{AXIAL}').toDataURL()") != before
    browser.click(AXIAL, 0.2, 0.2)
    browser.click("button[data-region=ET]")
    assert state(browser)["sequence"] == "t1ce"
    assert state(browser)["slices"] == ET
    rim = near(browser, AXIAL, OUTLINES["ET"])["count"]
    browser.click(".shown[value=ET]")
    assert rim > 50
    until_gone(browser, OUTLINES["ET"])
    assert near(browser, AXIAL, OUTLINES["ED"])["count"] > 100
    browser.tell(
        "(() => { const s = document.getElementById('style'); s.value = 'hidden';"
        "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    until_gone(browser, OUTLINES["ED"])


def test_a_telephone_and_print(browser: Browser, output: Path) -> None:
    open_case(browser, output, "P01", width=390)
    assert browser.tell("document.documentElement.scrollWidth") <= 390
    browser.media("print")
    seen = "[...document.querySelectorAll('figure, .viewer')].map(e => Boolean(e.offsetParent))"
    assert browser.tell(seen) == [False, True]  # viewer, figure
    browser.media("screen")


def test_the_still_picture_where_scripts_are_off(browser: Browser, output: Path) -> None:
    browser.scripts(False)
    try:
        browser.open(output / "P01" / "P01.html")
        browser.wait("document.querySelector('figure img').naturalWidth > 900")
        assert browser.tell("Boolean(document.querySelector('figure').offsetParent)")
        assert not browser.tell("document.querySelector('.viewer').offsetParent")
    finally:
        browser.scripts(True)


def test_figures_findings_and_record(browser: Browser, output: Path) -> None:
    open_case(browser, output, HOSTILE)
    said = browser.tell("document.body.innerText")
    for words in ("91.7", "75.2", "93.0", "</script><b>skull.", "cd" * 32, "Research use only"):
        assert words in said
    assert said.index("not_stripped") < said.index("slab")  # the error first
    assert browser.tell("document.querySelectorAll('b').length") == 0
    open_case(browser, output, "P02")
    assert "ET cannot be told without t1ce." in browser.tell("document.body.innerText")


def test_it_is_the_same_with_webgl(browser: Browser, output: Path, tmp_path: Path) -> None:
    open_case(browser, output, "P01")
    without = browser.tell(f"document.querySelector('{AXIAL}').toDataURL()")
    switches = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    with chromium(tmp_path, *switches) as other:
        open_case(other, output, "P01")
        webgl = "Boolean(document.createElement('canvas').getContext('webgl2'))"
        assert (browser.tell(webgl), other.tell(webgl)) == (False, True)
        assert other.tell(f"document.querySelector('{AXIAL}').toDataURL()") == without
