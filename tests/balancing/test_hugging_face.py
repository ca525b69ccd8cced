"""The example with Hugging Face's Trainer, run with the real library."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_the_example_balances_both_modalities(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "hugging_face.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'sound'" in done.stdout and "'text'" in done.stdout
