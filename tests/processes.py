"""Several commands of the project, each in a process of its own, with one import of torch."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_HEAVY = (
    "monai.bundle",
    "monai.engines",
    "monai.handlers",
    "monai.losses",
    "cggm.bundles",
    "cggm.data",
    "cggm.models",
    "cggm.pipelines.methods",
)
_SEVERAL = """
import json, os, runpy, sys
for name in json.loads(sys.argv[2]):
    __import__(name)
results = []
for number, (module, *words) in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(f".{number}.{stream}", os.O_CREAT | os.O_WRONLY), stream)
        sys.argv = ["", *words]
        if not hasattr(sys.modules.get(module), "__path__"):  # a package stays: __main__ is run
            sys.modules.pop(module, None)
        code = 0
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    results.append([code, open(f".{number}.1").read(), open(f".{number}.2").read()])
print(json.dumps(results))
"""


def commands(
    several: Sequence[Sequence[str]], folder: Path, imported: Sequence[str] = _HEAVY
) -> list[tuple[int, str, str]]:
    """Run `python -m <module> ...` several times; give exit code, stdout and stderr of each.

    What is `imported` once is there for all of them.
    """
    result = subprocess.run(
        [sys.executable, "-c", _SEVERAL, json.dumps(several), json.dumps(imported)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CGGM_TRACEBACK": "0"},
    )
    assert result.returncode == 0, result.stderr
    return [tuple(entry) for entry in json.loads(result.stdout)]
