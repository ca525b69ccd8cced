"""The examples in plain PyTorch and with Lightning, run with the real libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


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
