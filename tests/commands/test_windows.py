"""Check, training and inference with what Windows' Python lacks taken away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..data.brains import write_case

# os.name stays, because the standard library chooses its own modules by it; so does what those
# use inside (as os.pread). They are imported first, pathlib among them. os.uname stays too:
# NumPy, ctypes and CUDA's loader ask for it in what they run on Linux only.
WINDOWS = """
import asyncio, multiprocessing.util, os, pathlib, runpy, signal, subprocess, sys, tempfile
for name in ("fork", "forkpty", "getuid", "geteuid", "getgid", "getpgid", "killpg", "setsid",
             "sched_getaffinity", "statvfs", "sysconf", "mkfifo", "chown", "O_DIRECTORY",
             "nice", "getloadavg"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGQUIT", "pthread_kill",
             "pthread_sigmask", "sigwait", "alarm", "setitimer", "pause"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
sys.argv = ["cggm", *sys.argv[1:]]
runpy.run_module("cggm", run_name="__main__", alter_sys=True)
"""


def run(folder: Path, *words: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", WINDOWS, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "USERNAME": "user", "OMP_NUM_THREADS": "1", "CGGM_TRACEBACK": "1"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_check_train_and_infer(tmp_path: Path) -> None:
    write_case(tmp_path / "brats", "P1")
    assert "1 case" in run(tmp_path, "check", "brats")
    settings = ("--output_dir", "out", "--num_workers", "0")
    run(tmp_path, "train", "food101", "--epochs", "1", *settings)
    run(tmp_path, "infer", "food101", *settings)
    assert list((tmp_path / "out").rglob("last.pt"))
    assert list((tmp_path / "out").rglob("predictions*.csv"))
