"""Training and test of one run: taken up again, its record and its failure kept."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ....data.errors import InputError
from ....data.files import read_json, write_json, write_text
from .bundles import Bundle, open_bundle
from .module import run_module
from .record import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    earlier,
    read_record,
    surroundings,
    write_record,
)
from .run import Run

LINES_KEPT = 20
FAILURE = "failed.txt"


class Failure(Exception):
    """A command of a run ended with an error.

    Attributes:
        code: its exit code.
        lines: the end of what it wrote to standard error.
    """

    def __init__(self, config: str, code: int, lines: list[str]) -> None:
        super().__init__(f"{config} ended with exit code {code}")
        self.code = code
        self.lines = lines


def execute(run: Run, output: Path) -> dict[str, Any]:
    """Train and test, from where an earlier call ended; give the record.

    Failures are kept in the record and in ``failed.txt``, and not raised.

    Raises:
        InputError: the folder holds a run with other settings, or cannot be written.
        KeyboardInterrupt: somebody wants it to end.
    """
    folder = run.folder(output)
    record = _begin(run, folder, earlier(run, output) or {})
    try:
        (folder / FAILURE).unlink(missing_ok=True)
        write_record(folder, record)
        bundle = open_bundle(run.bundle)
        if not record["trained"]:
            for name, content in bundle.configurations(run, folder).items():
                write_json(folder / "configuration" / name, content)
            _train(bundle, run, folder, record)
            record["trained"] = True
            write_record(folder, record)
        _test(bundle, run, folder, record)
        record |= {"state": FINISHED, "exit_code": 0}
    except KeyboardInterrupt:
        record["state"] = STOPPED
        raise
    except Failure as error:
        _keep(folder, record, error.code, str(error), error.lines)
    except InputError as error:
        _keep(folder, record, 1, str(error), [])
    except Exception:
        _keep(folder, record, 1, "a fault of this program", traceback.format_exc().splitlines())
    finally:
        write_record(folder, record)
    return record


def keep_failure(run: Run, output: Path, reason: str) -> dict[str, Any]:
    """Record that a run ended without a word of its own; give the record."""
    folder = run.folder(output)
    try:
        record = read_record(folder) or run.identity()
        _keep(folder, record, 1, reason, [])
        write_record(folder, record)
    except (InputError, OSError):  # nothing can be kept there
        record = {"state": FAILED, "failure": reason}
    return record


def has_trained(run: Run, output: Path) -> float:
    """Share of the epochs that are done, from 0 to 1."""
    folder = run.folder(output)
    epochs = {**open_bundle(run.bundle).train, **run.settings, **run.own}["epochs"]
    try:
        rows = (folder / "history.csv").read_bytes().count(b"\n") - 1
    except OSError:
        return 0.0
    return min(1.0, max(0, rows) / epochs) if isinstance(epochs, int) and epochs > 0 else 0.0


def _begin(run: Run, folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that starts, or goes on after what an earlier call kept."""
    trained = bool(before.get("trained"))
    if not trained and not (folder / "models" / "last.pt").is_file():
        before = {}
    return {
        **run.identity(),
        **surroundings(),
        "state": RUNNING,
        "trained": trained,
        "started": before.get("started", datetime.now(UTC).isoformat(timespec="seconds")),
        "seconds": before.get("seconds", {"train": 0.0, "evaluate": 0.0}),
        # A call that was killed could not say how long it had trained.
        "seconds_known": before.get("seconds_known", True)
        and (trained or before.get("state") != RUNNING),
        "exit_code": None,
    }


def _train(bundle: Bundle, run: Run, folder: Path, record: dict[str, Any]) -> None:
    resume = (folder / "models" / "last.pt").is_file()
    words = bundle.training(run, folder, resume=resume)
    _call(folder, "train", words, record)


def _test(bundle: Bundle, run: Run, folder: Path, record: dict[str, Any]) -> None:
    figures: dict[str, Any] = {}
    for name in run.alone or (None,):
        row = run.label if name is None else f"{name} only"
        _call(folder, "evaluate", bundle.testing(run, folder, name), record)
        written = folder / "evaluation"
        if name is not None:
            kept = folder / f"evaluation-{name}"
            shutil.rmtree(kept, ignore_errors=True)
            written = written.rename(kept)
        content = read_json(written / "evaluation.json")
        record["tested_on"] = content["data"]
        record["samples"] = content.get("samples", content.get("patients"))
        figures[row] = plain_figures(content)
    record["figures"] = figures


def plain_figures(content: dict[str, Any]) -> dict[str, float | None]:
    """The figures of an ``evaluation.json`` by name, each a number or None.

    Of a segmentation they are called ``volumetric/WT``.
    """
    if "figures" in content:
        return {name: figure["value"] for name, figure in content["figures"].items()}
    return {
        f"{protocol}/{region}": figure["mean"]
        for protocol in ("volumetric", "tumor_slices")
        for region, figure in content.get(protocol, {}).items()
        if isinstance(figure, dict) and "mean" in figure
    }


def _call(folder: Path, config: str, words: Sequence[str], record: dict[str, Any]) -> None:
    log = folder / "logs" / config
    began = time.monotonic()
    try:
        code = run_module(words, log)
    finally:
        took = record["seconds"][config] + time.monotonic() - began
        record["seconds"] = {**record["seconds"], config: round(took, 1)}
    if code:
        lines = Path(f"{log}.err").read_text(errors="replace").splitlines()
        raise Failure(f"{config}.json", code, [line for line in lines if line][-LINES_KEPT:])


def _keep(folder: Path, record: dict[str, Any], code: int, text: str, lines: list[str]) -> None:
    reason = reason_in(lines) if lines else text
    record |= {"state": FAILED, "exit_code": code, "failure": reason}
    others = [line for line in (text, *lines) if line != reason]
    write_text(folder / FAILURE, "\n".join([reason, "", *others]).rstrip() + "\n")


def reason_in(lines: Sequence[str]) -> str:
    """The line of an error output that says what was wrong.

    >>> reason_in(["a warning", "error: rho is -1", "a leak was found"])
    'error: rho is -1'
    >>> reason_in(["Traceback (most recent call last):", "KeyError: 'x'"])
    "KeyError: 'x'"
    """
    return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
