"""The command ``cggm extract``: one sub-command per kind of input, and ``finish``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from ...data.errors import InputError
from ...data.features.file import SUFFIX
from ...data.features.header import check_modality
from ...data.word_lists import WordLists
from .media import needs
from .options import KINDS, MODELS, Options
from .sets import SetOptions, check_members, finish_set, prepare_set
from .table import Sample, list_folder, read_table

_WHAT = {
    "text": "Texts of a table, by BERT or another language model.",
    "image": "Images, by ViT or another vision model of transformers or timm.",
    "audio": "Recordings, by Whisper, wav2vec2, … or openSMILE.",
    "video": "Clips, by an encoder of images on their frames.",
}
# Options that only some kinds of input have.
_KINDS_OF = {
    "folder": ("image", "audio", "video"),
    "max_length": ("text",),
    "max_seconds": ("audio",),
    "whole_window": ("audio",),
    "frames_per_second": ("video",),
    "max_frames": ("video",),
    "weights": ("image", "video"),
    "mean": ("image", "video"),
    "std": ("image", "video"),
}

Value = TypeVar("Value")


def _option(name: str, text: str, metavar: str | None = None) -> Any:
    # Named, since Typer would write an underscore as a minus.
    return typer.Option(f"--{name}", help=text, metavar=metavar)


app = typer.Typer(
    help="Extract features from texts, images, recordings or clips.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command()
def finish(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="Folder of the feature set.")],
) -> None:
    """Drop samples that a modality of a set lacks; convert files of an earlier version."""
    print(finish_set(folder))


def _command(kind: str) -> Callable[..., None]:
    """Make the sub-command of a kind of input."""

    def run(
        context: typer.Context,
        table: Annotated[
            Path | None, _option("table", "CSV in UTF-8 with a line of column names.")
        ] = None,
        folder: Annotated[
            Path | None,
            _option("folder", "All files below it; ids are their relative paths."),
        ] = None,
        column: Annotated[str | None, _option("column", "Of the table; default: the kind.")] = None,
        id_column: Annotated[str, _option("id", "Column of the ids.", "COLUMN")] = "id",
        output: Annotated[Path | None, _option("output", f"The file, ending in {SUFFIX}.")] = None,
        set_folder: Annotated[
            Path | None,
            _option("set", "A feature set, begun when it is not there.", "FOLDER"),
        ] = None,
        modality: Annotated[
            str | None,
            _option("modality", "Name of the file in the set; default: the kind."),
        ] = None,
        name: Annotated[
            str | None, _option("name", "Of a new set; default: that of its folder.")
        ] = None,
        task: Annotated[
            str | None, _option("task", "Of a new set: classification or regression.")
        ] = None,
        classes: Annotated[
            list[str] | None,
            _option("classes", "Of a new set, in their order.", "NAME ..."),
        ] = None,
        dtype: Annotated[
            Literal["float32", "float16"], _option("dtype", "Of the file.")
        ] = "float32",
        overwrite: Annotated[
            bool, _option("overwrite", "Replace what has other settings.")
        ] = False,
        model: Annotated[str, _option("model", "Name or folder.")] = MODELS[kind],
        revision: Annotated[
            str | None, _option("revision", "Branch, tag or commit of a model on the hub.")
        ] = None,
        pooling: Annotated[
            Literal["tokens", "mean", "cls"] | None,
            _option("pooling", "Default: tokens of texts and recordings, else mean."),
        ] = None,
        batch_size: Annotated[
            int | None, _option("batch_size", "Inputs that the network sees at once.")
        ] = None,
        device: Annotated[str, _option("device", "Such as cpu or cuda:1.")] = "auto",
        precision: Annotated[
            Literal["auto", "float32", "bfloat16", "float16", "int8"],
            _option("precision", "Auto: float16 on a GPU, float32 on a CPU."),
        ] = "auto",
        chunk: Annotated[int, _option("chunk", "Samples per saved part.")] = 256,
        readers: Annotated[int, _option("readers", "Threads that read files ahead.")] = 4,
        max_length: Annotated[
            int | None, _option("max_length", "Texts: most tokens; default: 64.")
        ] = None,
        max_seconds: Annotated[
            float | None, _option("max_seconds", "Recordings: most seconds; default: 30.")
        ] = None,
        whole_window: Annotated[
            bool, _option("whole_window", "Recordings, Whisper: always 30 s, slow.")
        ] = False,
        frames_per_second: Annotated[
            float | None, _option("frames_per_second", "Clips: default: 2.")
        ] = None,
        max_frames: Annotated[
            int | None, _option("max_frames", "Clips: most frames; default: 64.")
        ] = None,
        weights: Annotated[
            Path | None, _option("weights", "Images, clips: file for a timm model.")
        ] = None,
        mean: Annotated[
            list[float] | None,
            _option("mean", "Images, clips: in place of the model's own.", "NUMBER ..."),
        ] = None,
        std: Annotated[
            list[float] | None,
            _option("std", "Images, clips: in place of the model's own.", "NUMBER ..."),
        ] = None,
    ) -> None:
        from .encoders import load_encoder
        from .run import Plan, extract

        choices = _chosen(context.params)
        _refuse_others(kind, choices)
        source = _either("--table", table, "--folder", folder)
        target = _either("--output", output, "--set", set_folder)
        needs(kind)
        _quiet()
        modality = kind if modality is None else modality
        check_modality(modality, "--modality")
        samples = _samples(kind, table, source, column, id_column, set_folder)
        if set_folder is not None:
            target = target / f"{modality}{SUFFIX}"
            note = prepare_set(set_folder, source, SetOptions(name, task, classes, id_column))
            if note:
                print(note, flush=True)
            check_members(set_folder, samples)
        encoder = load_encoder(kind, model, _options(choices))
        plan = Plan(chunk, dtype, overwrite, readers, source.resolve().name)
        result = extract(samples, encoder, target, plan)
        print(result)
        if set_folder is not None and result.left_out:
            print(
                "when all modalities are extracted, drop the samples that one of them lacks: "
                f"cggm extract finish {set_folder}"
            )

    return run


for _kind in KINDS:
    app.command(_kind, help=_WHAT[_kind], cls=WordLists)(_command(_kind))


def _chosen(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that have a value."""
    return {
        name: value
        for name, value in parameters.items()
        if value not in (None, (), []) and value is not False
    }


def _refuse_others(kind: str, choices: dict[str, Any]) -> None:
    for name, kinds in _KINDS_OF.items():
        if name in choices and kind not in kinds:
            raise typer.BadParameter(f"--{name} is for {' and '.join(kinds)}, not for {kind}")


def _either(one: str, value: Value | None, other: str, other_value: Value | None) -> Value:
    """Give the value of the one of two options that is there."""
    if value is not None and other_value is not None:
        raise typer.BadParameter(f"{one} and {other} exclude each other; give one of them")
    chosen = other_value if value is None else value
    if chosen is None:
        raise typer.BadParameter(f"one of {one} and {other} is needed")
    return chosen


def _options(choices: dict[str, Any]) -> Options:
    names = {field.name for field in fields(Options)}
    values = {name: value for name, value in choices.items() if name in names}
    for name in ("mean", "std"):
        if name in values:
            values[name] = tuple(values[name])
    return Options(**values)


def _samples(
    kind: str,
    table: Path | None,
    source: Path,
    column: str | None,
    id_column: str,
    set_folder: Path | None,
) -> list[Sample]:
    if table is not None:
        return read_table(table, kind=kind, column=column, id_column=id_column)
    if set_folder is not None and not (set_folder / "samples.csv").is_file():
        raise InputError(
            f"{set_folder} has no samples.csv: begin it with --table, not with --folder"
        )
    return list_folder(source, kind=kind)


def _quiet() -> None:
    """Leave the terminal to one progress bar and to what a user can act on."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", r".* has no preprocessor_config\.json")
    warnings.showwarning = _note


def _note(message: Warning | str, *others: object, **named: object) -> None:
    print(f"note: {message}", file=sys.stderr, flush=True)
