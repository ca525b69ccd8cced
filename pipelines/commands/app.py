"""The `cggm` command: its sub-commands, each loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, NamedTuple

import typer
from typer.main import get_command

from ...data.errors import InputError
from ...data.word_lists import WordLists
from .failures import report_plainly


class SubCommand(NamedTuple):
    """Where a sub-command is, relative to `cggm.pipelines`, and what it needs."""

    module: str
    help: str
    extra: str = ""
    """What else of the package has to be installed: `pip install "cggm[research]"`."""
    attribute: str = ""
    """A Typer object of the module; without it that is `app`, or else the function `main`."""
    late: tuple[str, ...] = ()
    """Packages of the extra that are imported only in the middle of the work."""


SUB_COMMANDS = {
    "check": SubCommand("commands.check", "Check data: BraTS cases, or features."),
    "convert": SubCommand("commands.convert", "Turn a published data set into a feature set."),
    "extract": SubCommand(
        "extraction.command",
        "Extract features from texts, images, recordings or clips.",
        extra="extraction",
    ),
    "dicom": SubCommand(
        "commands.dicom",
        "MR series of a PACS as NIfTI, and masks as DICOM segmentations.",
        extra="dicom",
        late=("highdicom",),
    ),
    "segment": SubCommand(
        "commands.segment", "From a folder of patients to masks, volumes and records."
    ),
    "prepare": SubCommand(
        "commands.prepare", "Prepare a hospital's images: register, strip, 1 mm.", extra="prepare"
    ),
    "restore": SubCommand(
        "commands.restore", "Bring masks back to the hospital's own grids.", extra="prepare"
    ),
    "slicer": SubCommand(
        "commands.slicer", "Masks to 3D Slicer, and corrected ones back.", extra="slicer"
    ),
    "train": SubCommand("commands.bundle", "Train the network of a bundle.", "", "train"),
    "evaluate": SubCommand("commands.bundle", "Evaluate a trained network.", "", "evaluate"),
    "infer": SubCommand("commands.bundle", "Predict with a trained network.", "", "infer"),
    "follow": SubCommand("commands.follow", "Compare the dates of each patient."),
    "pack": SubCommand("commands.pack", "Pack a trained BraTS network as a MONAI bundle."),
    "report": SubCommand("commands.report", "Pages of segmented cases: overview and one per case."),
    "score": SubCommand("commands.score", "Score masks against the truth."),
    "demo": SubCommand(
        "research.demo.command", "Train a bundle and write a report.", extra="research"
    ),
    "experiments": SubCommand(
        "research.experiments.command",
        "Run a grid of methods, seeds and folds.",
        extra="research",
        late=("ray",),
    ),
    "tables": SubCommand(
        "research.report.command", "Tables and figures of experiments.", extra="research"
    ),
    "paper": SubCommand(
        "research.paper.command",
        "Tables and figures of the paper, anew.",
        extra="research",
        late=("ray",),
    ),
    "advise": SubCommand(
        "research.advise.command",
        "Does balancing help on your own features?",
        extra="research",
        late=("ray",),
    ),
    "study": SubCommand(
        "research.study.command",
        "Does balancing help? Trainings and their report.",
        extra="research",
    ),
    "stand-ins": SubCommand(
        "research.stand_ins.command", "Open data in place of the paper's.", extra="research"
    ),
    "info": SubCommand("commands.info", "Versions, extras, bundles and folders in use."),
}

# A sub-command reads its own options, `--help` too.
_PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}
_INTERRUPTED = 130

app = typer.Typer(
    help="Networks of several modalities, balanced: train, compare, segment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"cggm {version('cggm')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line of this process: exit code 0, 1 (a failure) or 2 (wrong usage)."""
    report_plainly()
    # Called itself, `app` would put Typer's own hook for exceptions in the place of ours.
    get_command(app)(prog_name="cggm")


def _register(name: str, entry: SubCommand) -> None:
    @app.command(name, help=entry.help, add_help_option=False, context_settings=_PASS_THROUGH)
    def run(context: typer.Context) -> None:
        try:
            with _naming_extra(name, entry):
                command = get_command(_load(entry))
                with command.make_context(name, context.args, parent=context.parent) as inner:
                    code = command.invoke(inner)
        except KeyboardInterrupt as stop:
            # Typer would end without a word; the hook says where to go on.
            sys.excepthook(KeyboardInterrupt, stop, stop.__traceback__)
            raise typer.Exit(_INTERRUPTED) from stop
        raise typer.Exit(code if isinstance(code, int) else 0)


@contextmanager
def _naming_extra(name: str, entry: SubCommand) -> Iterator[None]:
    """Say what to install where a package of the extra is missing.

    Raises:
        InputError: one is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not entry.extra or package in ("", "cggm"):
            raise
        raise InputError(
            f"cggm {name} needs {package}, which is not installed: "
            f'pip install "cggm[{entry.extra}]"'
        ) from error


def _load(entry: SubCommand) -> typer.Typer:
    """Import a sub-command, which may take its packages in only when it is at work.

    Raises:
        ModuleNotFoundError: a package that it needs is not installed.
    """
    for package in entry.late:
        if find_spec(package) is None:
            raise ModuleNotFoundError(name=package)
    module = import_module(f"cggm.pipelines.{entry.module}")
    opened = getattr(module, entry.attribute or "app", None)
    if opened is None:
        opened = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
        )
        opened.command(cls=WordLists)(module.main)
    return opened


for _name, _entry in SUB_COMMANDS.items():
    _register(_name, _entry)
