"""The page of a batch, opened from disk in a browser that has no network and no WebGL."""

import re
from pathlib import Path

from .browser import Browser
from .conftest import HOSTILE


def shown(browser: Browser) -> list[str]:
    """Cases of the rows that are shown, from top to bottom."""
    return browser.tell(
        "[...document.querySelectorAll('#cases tbody tr')]"
        ".filter(row => row.offsetParent).map(row => row.cells[0].textContent)"
    )


def text(browser: Browser, selector: str) -> str:
    return browser.tell(f"document.querySelector('{selector}').innerText")


def test_warnings_come_first_and_nothing_is_asked_of_a_network(
    browser: Browser, output: Path
) -> None:
    page = output / "index.html"
    browser.open(page)
    assert shown(browser) == [HOSTILE, "P02", "P01", "P04"]
    assert "4 segmented, 2 of them with warnings; 1 failed" in text(browser, "body")
    assert "Research use only" in text(browser, "body")
    assert browser.requests() == [page.resolve().as_uri()]
    assert browser.complaints() == []


def test_names_and_reasons_are_text_and_never_markup(browser: Browser, output: Path) -> None:
    browser.open(output / "index.html")
    assert "<script>hacked()</script> t1ce is damaged" in text(browser, "body")
    assert "</script><b>skull" in text(browser, "#cases")
    assert browser.tell("document.querySelectorAll('img, b, script').length") == 1  # ours


def test_filters(browser: Browser, output: Path) -> None:
    browser.open(output / "index.html")
    browser.click("#warned")
    assert shown(browser) == [HOSTILE, "P02"]
    browser.click(".having[value=t1ce]")
    assert shown(browser) == [HOSTILE]
    assert text(browser, "#count") == "1 of 4 shown"
    browser.click("#warned")
    assert shown(browser) == [HOSTILE, "P01", "P04"]
    browser.click("#text")
    browser.type("p04")
    assert shown(browser) == ["P04"]


def test_order_by_volume_with_unknown_ones_last(browser: Browser, output: Path) -> None:
    browser.open(output / "index.html")
    browser.click("#cases th:nth-child(6) button")  # ET in ml, unknown without t1ce
    assert [shown(browser)[i] for i in (0, -1)] == ["P04", "P02"]
    browser.click("#cases th:nth-child(6) button")
    assert [shown(browser)[i] for i in (-2, -1)] == ["P04", "P02"]


def test_links_lead_to_the_pages_of_cases(browser: Browser, output: Path) -> None:
    for row, case in ((1, HOSTILE), (2, "P02")):
        browser.open(output / "index.html")
        browser.click(f"#cases tbody tr:nth-child({row}) a")
        browser.wait("document.body.classList.contains('live')")
        assert text(browser, "h1") == case
        browser.click("a")
        browser.wait("document.getElementById('cases')")


def test_it_fits_a_telephone(browser: Browser, output: Path) -> None:
    browser.open(output / "index.html", 390, 844)
    assert browser.tell("document.documentElement.scrollWidth") <= 390
    told = "getComputedStyle(document.querySelector('td.figure'), '::before').content"
    assert "WT, ml" in browser.tell(told)


def test_citations_are_numbered_as_they_come(browser: Browser, output: Path) -> None:
    browser.open(output / "index.html")
    cited = re.findall(r"\[(\d+)\]", text(browser, "#methods"))
    listed = browser.tell("document.querySelectorAll('.references li').length")
    assert cited == [str(number + 1) for number in range(listed)]
