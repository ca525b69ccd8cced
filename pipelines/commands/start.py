"""The first steps of every `python -m monai.bundle run`.

MONAI and torch are imported late: the command line, which is in this room, needs neither to help.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data.errors import InputError
from ...data.extras import optional
from .failures import report_plainly

_ROOM = 2**16  # bytes; with less a training fails at its first record


def start(
    *,
    output_dir: str,
    seed: int | None = None,
    method: str | None = None,
    free: Sequence[str] = ("methods",),
) -> None:
    """Prepare a run: plain error messages, checked settings, an output folder, a seed.

    The first entry of a bundle's `initialize` section, so that nothing expensive comes before:
    `{"_target_": "cggm.pipelines.commands.start", "output_dir": "@output_dir", "seed": "@seed"}`.

    Args:
        output_dir: folder for everything the run writes; made when it is not there.
        seed: seeds Python, NumPy and torch and makes cuDNN deterministic; None leaves them alone.
        method: of a training; what it learns from is trained first, and other trainings are kept
            out of the folder.
        free: top-level entries below which overrides may add any key.

    Raises:
        InputError: a setting on the command line does not exist, it needs a package that is not
            installed, the folder cannot be written, or another training writes into it.
    """
    from monai.utils import set_determinism

    from ..balancing.distributed import is_main_process
    from ..methods import describe
    from .lock import keep_others_out
    from .overrides import check_overrides, is_bundle_run, load_config, read_command
    from .teachers import train_teachers

    report_plainly(output_dir)
    _silence_noise()
    given: dict[str, Any] = {}
    if is_bundle_run(sys.argv):
        given = read_command(sys.argv[2:])
        if given.get("method") == "help":
            print(f"--method is one of\n{describe()}")
            raise SystemExit(0)
        config = load_config(given["config_file"])
        check_overrides(config, given, free=free)
        if given.get("tracking") == "mlflow":
            optional("mlflow", "tracking", "runs tracked by MLflow")
    make_writable(output_dir)
    if method is not None and is_main_process():
        keep_others_out(output_dir)
    if method is not None and is_bundle_run(sys.argv):
        train_teachers(given, method, output_dir)
    if seed is not None:
        set_determinism(seed)


def _silence_noise() -> None:
    """Drop warnings that are true of MONAI's code and that a user can do nothing about."""
    # With gradient accumulation the schedule rightly moves before the first optimizer step.
    warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step\\(\\)` before")
    # MONAI makes its loss scaler by the old name.
    warnings.filterwarnings("ignore", "`torch.cuda.amp.GradScaler", FutureWarning)


def make_writable(folder: str | Path) -> Path:
    """Create a folder and prove that files can be written into it.

    Raises:
        InputError: it cannot be created or written.
    """
    folder = Path(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"the output folder {folder} is a file; choose another one")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".writable-", dir=folder, buffering=0) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        raise InputError(
            f"the output folder {folder} cannot be written ({error.strerror}); choose another one"
        ) from error
    return folder
