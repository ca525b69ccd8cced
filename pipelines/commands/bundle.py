"""Bundles from the command line: `cggm train`, `cggm evaluate` and `cggm infer`.

Each is `python -m monai.bundle run` with the configuration named in a word.
"""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...bundles import path
from ...data.errors import InputError, nearest

FOLDER = Path(path("brats")).parent
BUNDLES = tuple(sorted(file.parent.name for file in FOLDER.glob("*/train.json")))

_SETTINGS = """Every setting of the configuration is an option: --epochs 1, --resume True. A value
is read as Python where it can be: --sequences "['flair','t1ce']", --max_norm '$None'. An entry
further down is reached by its path: --network_def#norm batch."""


def _door(config: str, summary: str) -> typer.Typer:
    """A command that runs one configuration of a bundle.

    Args:
        config: name of the JSON file without its ending.
        summary: first line of the help.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.command(
        help=summary,
        add_help_option=False,
        no_args_is_help=True,
        epilog=_SETTINGS,
        options_metavar="",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def run(
        context: typer.Context,
        bundle: Annotated[
            str | None,
            typer.Argument(
                help=f"{', '.join(BUNDLES)}, or the path of a bundle's folder or JSON file"
            ),
        ] = None,
        overlay: Annotated[
            list[str] | None,
            typer.Option(help="JSON on top of the configuration, such as paper.json; repeatable"),
        ] = None,
        show_help: Annotated[
            bool, typer.Option("--help", "-h", help="with BUNDLE: list its settings, too")
        ] = False,
    ) -> None:
        if bundle is None or bundle.startswith("-"):
            if not show_help:
                raise typer.BadParameter(f"BUNDLE comes first, such as {BUNDLES[0]}")
            print(context.get_help())
            return
        files = config_files(bundle, config, overlay or [])
        if show_help:
            print(f"{context.get_help()}\n\n{describe_settings(files)}")
            return
        run_bundle(files, context.args)

    return app


train = _door("train", "Train the network of a bundle.")
evaluate = _door("evaluate", "Evaluate a trained network.")
infer = _door("inference", "Predict with a trained network.")


def config_files(bundle: str, config: str, overlays: Sequence[str] = ()) -> list[Path]:
    """Find a configuration and what is laid over it.

    Args:
        bundle: name of a bundle, or path of its folder or of a JSON file.
        config: "train", "evaluate" or "inference".
        overlays: paths of JSON files, looked for beside the configuration, too.

    Raises:
        InputError: one of them does not exist.
    """
    place = Path(path(bundle)) if bundle in BUNDLES else Path(bundle)
    if place.is_dir():
        place = place / f"{config}.json"
        if not place.is_file():
            raise InputError(f"{place.parent} is no bundle's folder: it has no {place.name}")
    if not place.is_file():
        raise InputError(
            f"no bundle is called {bundle!r}{nearest(bundle, BUNDLES)}, and no file; the bundles "
            f"are {', '.join(BUNDLES)}"
        )
    return [place, *(_overlay(name, place) for name in overlays)]


def _overlay(name: str, config: Path) -> Path:
    for place in (Path(name), config.parent / name):
        if place.is_file():
            return place
    others = sorted(file.name for file in config.parent.glob("*.json") if file != config)
    raise InputError(
        f"there is no overlay {name}, here or in {config.parent}, which has {', '.join(others)}"
    )


def describe_settings(files: Sequence[Path]) -> str:
    """List the top-level settings of a configuration with their defaults."""
    from .overrides import load_config, settings

    config = load_config([str(file) for file in files])
    rows = [f"  --{name} {json.dumps(config[name])}" for name in settings(config)]
    return "\n".join([f"Settings of {files[0]} and their defaults:", *rows])


def run_bundle(files: Sequence[Path], words: Sequence[str]) -> None:
    """Do in this process what `python -m monai.bundle run` does.

    Args:
        files: a configuration and its overlays.
        words: all other words of the command, passed on as they are.

    Raises:
        InputError: the words name another configuration, or one cannot be read.
    """
    from .overrides import load_config

    if any(word.split("=")[0].replace("-", "_") == "__config_file" for word in words):
        raise InputError(
            "the configuration is that of BUNDLE: leave --config_file out, and lay JSON over it "
            "with --overlay FILE"
        )
    if all(FOLDER.resolve() in file.resolve().parents for file in files):
        # MONAI warns of configurations from elsewhere; these came with the package.
        warnings.filterwarnings("ignore", message="parsing config_file")
    names = [str(file) for file in files]
    load_config(names)
    value: Any = names[0] if len(names) == 1 else repr(names)
    sys.argv = ["monai.bundle", "run", "--config_file", value, *words]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
