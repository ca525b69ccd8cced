"""The example with Lightning, run with the real library."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize(("name", "needs"), [("pytorch", "torch"), ("lightning", "lightning")])
def test_an_example_balances_both_modalities(name: str, needs: str, tmp_path: Path) -> None:
    pytest.importorskip(needs)
    # A process of its own: the example has the name of the library.
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(EXAMPLES), name],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'sound'" in done.stdout and "'text'" in done.stdout


# The folder of the examples comes last, so that `import lightning` is the library.
SCRIPT = """
import runpy, sys
folder, name = sys.argv[1:]
sys.path.append(folder)
print(runpy.run_path(f"{folder}/{name}.py")["main"]())
"""
