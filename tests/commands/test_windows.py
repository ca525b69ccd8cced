"""Check, training and inference with what Windows' Python lacks taken away."""

from pathlib import Path

import pytest

from ..data.brains import write_case
from ..processes import commands

# os.name stays, because the standard library and other libraries choose their own modules by it;
# so does what those use inside (as os.pread). They are imported first, and this package after it.
WINDOWS = """
import os, runpy, signal, sys
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
assert not any(name.partition(".")[0] == "cggm" for name in sys.modules)
runpy.run_module("cggm", run_name="__main__", alter_sys=True)
"""
OF_OTHERS = ("monai.bundle", "monai.engines", "monai.handlers", "monai.losses")


def test_check_train_and_infer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "brats", "P1")
    (tmp_path / "windows.py").write_text(WINDOWS)
    monkeypatch.setenv("USERNAME", "user")
    settings = ["--output_dir", "out", "--num_workers", "0"]
    small = ["--epochs", "1", "--width", "10", "--layers", "1", "--fusion_layers", "1"]
    several = [
        ["windows", "check", "brats"],
        ["windows", "train", "food101", *small, *settings],
        ["windows", "infer", "food101", *settings],
    ]
    results = commands(several, tmp_path, OF_OTHERS)
    assert [code for code, _, _ in results] == [0, 0, 0], results
    assert "1 case" in results[0][1]
    assert list((tmp_path / "out").rglob("last.pt"))
    assert list((tmp_path / "out").rglob("predictions*.csv"))
