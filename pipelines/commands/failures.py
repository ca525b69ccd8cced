"""Messages of failures: one sentence for what a user can mend."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ...data.errors import InputError

# Files of this package; not its root, below which a virtual environment may lie.
_OWN_FOLDERS = tuple(
    str(Path(__file__).resolve().parents[2] / name) + os.sep
    for name in ("bundles", "data", "models", "pipelines")
)
_KILLED = re.compile(r"DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) (is killed by signal|exited)")
_FROM_WORKER = "in DataLoader worker process"
_FILE = re.compile(r'^\s*File "([^"]+)", line \d+, in ', re.MULTILINE)
_ERROR_LINE = re.compile(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception)): ?(.*)$", re.MULTILINE)
_OUT_OF_MEMORY = (
    "out of memory; use a smaller batch, smaller slices or, on a GPU, mixed precision, "
    "and fewer data loader workers"
)


def report_plainly(output_dir: str | Path | None = None) -> None:
    """Make Python print one line, and no traceback, for what a user can mend.

    Mistakes in the input, exhausted memory and Ctrl-C become one sentence; everything else, which
    is then a fault of the program, keeps its traceback. The environment variable
    CGGM_TRACEBACK=1 keeps all tracebacks. The exit code stays the interpreter's: 1, or 130 (in
    the shell) after Ctrl-C.

    Args:
        output_dir: where checkpoints go; named after Ctrl-C when one is there.
    """

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = explain(error, output_dir)
        if line is None or os.environ.get("CGGM_TRACEBACK") == "1":
            traceback.print_exception(kind, error, trace)
        if line is not None:
            print(line, file=sys.stderr, flush=True)

    sys.excepthook = hook
    # Ignite logs each exception before it passes it on, so the user would read it twice.
    for engine in ("SupervisedTrainer", "SupervisedEvaluator"):
        logging.getLogger(f"ignite.engine.engine.{engine}").addFilter(_is_no_echo)


def explain(error: BaseException, output_dir: str | Path | None = None) -> str | None:
    """Say in one line what went wrong, or give None for a fault of the program."""
    if isinstance(error, KeyboardInterrupt):
        return f"stopped by the user{_where_to_go_on(output_dir)}"
    reason = reason_of(error)
    return None if reason is None else f"error: {reason}"


def reason_of(error: BaseException) -> str | None:
    """What was wrong, in a sentence; None for a fault of the program.

    MONAI wraps what a component raises in `RuntimeError: Failed to instantiate …`; the outermost
    error of ours in the chain is the one written for the user.
    """
    for find in (_input_error, _shortage, _of_our_code):
        for link in _chain(error):
            reason = find(link)
            if reason is not None:
                return reason
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _input_error(error: BaseException) -> str | None:
    if _FROM_WORKER in str(error):
        # The worker sends its traceback as text; the last error of ours in it is the outermost.
        found = [text for name, text in _ERROR_LINE.findall(str(error)) if name == "InputError"]
        return found[-1] if found else None
    return str(error) if isinstance(error, InputError) else None


def _shortage(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, MemoryError) or _is_out_of_gpu_memory(error):
        return _OUT_OF_MEMORY
    if "Found no NVIDIA driver" in text or "not compiled with CUDA enabled" in text:
        return (
            "a GPU was asked for, and torch finds none that it can use here (nvidia-smi and "
            "torch.cuda.is_available() tell more); leave --device out for the CPU"
        )
    if "DefaultCPUAllocator: can't allocate memory" in text or "Cannot allocate memory" in text:
        return _OUT_OF_MEMORY
    if "Bus error" in text or "No space left on device: '/torch_" in text:
        return (
            "the data loader's workers ran out of shared memory; use fewer workers, or give the "
            "container more of it (docker run --shm-size=8g)"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = "" if error.filename is None else f" for {error.filename}"
        return f"the disk is full{where}; make room, or pass another --output_dir"
    if _KILLED.search(text):
        return (
            "a data loader worker was killed, as a rule because memory ran out; use fewer "
            "workers or a smaller batch"
        )
    return None


def _is_out_of_gpu_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")  # not loaded for a command that needs no network
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _of_our_code(error: BaseException) -> str | None:
    """An argument that our code refuses, or stumbles over: as a rule a setting."""
    if not isinstance(error, (ValueError, TypeError)):
        return None
    text = str(error)
    if _FROM_WORKER in text:  # which sends its traceback as text
        files, lines = _FILE.findall(text), _ERROR_LINE.findall(text)
        text = lines[-1][1] if lines else text
    else:
        frames = list(traceback.walk_tb(error.__traceback__))
        files = [frame.f_code.co_filename for frame, _ in frames]
    if not files or not files[-1].startswith(_OWN_FOLDERS):
        return None
    # A refusal by ValueError is written for the user; of a TypeError, the place says more.
    return text if isinstance(error, ValueError) else f"{text} (CGGM_TRACEBACK=1 shows where)"


def _where_to_go_on(output_dir: str | Path | None) -> str:
    for folder in () if output_dir is None else (Path(output_dir) / "models", Path(output_dir)):
        if (folder / "last.pt").is_file():
            return f"; the last finished epoch is in {folder / 'last.pt'}, --resume True goes on"
    return ""


def _is_no_echo(record: logging.LogRecord) -> bool:
    return "run is terminating due to exception" not in record.getMessage()
