"""The example with Hugging Face's Trainer, run with the real library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

# The second of two epochs modulates, and there is no third.
WITH_EPOCHS = """
import hugging_face
from cggm.pipelines.methods import OGMGE

second = hugging_face.main("run", OGMGE(first_epoch=2, last_epoch=2), bf16=True)
third = hugging_face.main("run", OGMGE(first_epoch=3))
assert min(second.values()) < 1.0 == min(third.values()), (second, third)
"""


@pytest.mark.parametrize("command", [[str(EXAMPLES / "hugging_face.py")], ["-c", WITH_EPOCHS]])
def test_the_example_balances_and_evaluates(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'eval_loss'" in done.stdout
    assert "-c" in command or ("'sound'" in done.stdout and "'text'" in done.stdout)
