"""Examples in docstrings and documents."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import cggm.bundles
import cggm.data
import cggm.models
import cggm.pipelines

# `cggm` itself has no file: walking its own path finds nothing in an editable install.
PACKAGES = (cggm.bundles, cggm.data, cggm.models, cggm.pipelines)
MODULES = [
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


def test_all_modules_are_found() -> None:
    assert {"cggm.data.brats.cases", "cggm.data.phantom.growth", "cggm.pipelines.methods.cggm"} <= {
        *MODULES
    }


@pytest.mark.parametrize("name", [*(package.__name__ for package in PACKAGES), *MODULES])
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what question it answers"
    failed, _ = doctest.testmod(module)
    assert failed == 0


def test_some_examples_were_run() -> None:
    finder = doctest.DocTestFinder()
    found = [finder.find(importlib.import_module(name)) for name in MODULES]
    assert sum(len(test.examples) for tests in found for test in tests) >= 5


def test_every_reported_input_has_its_test() -> None:
    root = Path(__file__).parents[1]
    rows = [r for r in (root / "docs/inputs.md").read_text().splitlines() if r.startswith("| [")]
    assert len(rows) >= 20
    for row in rows:
        tests = re.findall(r"`(tests/[^`]+)::(test_\w+)`", row)
        assert tests, row
        for file, name in tests:
            assert f"def {name}(" in (root / file).read_text(), f"{file} has no {name}"
