"""The examples in plain PyTorch and with Lightning, run with the real libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

# The second of two epochs modulates, and there is no third.
WITH_EPOCHS = """
import lightning_module
from cggm.pipelines.methods import OGMGE

second = lightning_module.main(OGMGE(first_epoch=2, last_epoch=2), precision="bf16-mixed")
third = lightning_module.main(OGMGE(first_epoch=3))
assert min(second.values()) < 1.0 == min(third.values()), (second, third)
"""


@pytest.mark.parametrize(
    ("name", "library"), [("pytorch", "torch"), ("lightning_module", "lightning")]
)
def test_an_example_balances_both_modalities(name: str, library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'sound'" in done.stdout and "'text'" in done.stdout


def test_lightning_tells_a_method_of_epochs(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    done = subprocess.run(
        [sys.executable, "-c", WITH_EPOCHS],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
