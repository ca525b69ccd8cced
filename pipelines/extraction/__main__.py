"""``cggm extract``: which words does the command take?"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

from ...data.errors import InputError
from ...data.features.file import SUFFIX
from ...data.features.header import check_modality
from ..commands.failures import report_plainly
from .encoders import load_encoder
from .options import KINDS, MODELS, POOLING, PRECISIONS, Options
from .run import Plan, extract
from .sets import SetOptions, check_members, finish_set, prepare_set
from .table import Sample, list_folder, read_table

_WHAT = {
    "text": "texts of a table, by BERT or another language model",
    "image": "images, by ViT or another vision model of transformers or timm",
    "audio": "recordings, by Whisper, wav2vec2, … or openSMILE",
    "video": "clips, by an encoder of images on their frames",
}


def main(words: list[str] | None = None) -> int:
    """Extract, or finish a feature set; return how the command should end."""
    report_plainly()
    given = _parser().parse_args(words)
    if given.kind == "finish":
        print(finish_set(given.set))
        return 0
    _quiet()
    samples, origin = _samples(given)
    modality = given.kind if given.modality is None else given.modality
    check_modality(modality, "--modality")
    output = Path(given.output or Path(given.set) / f"{modality}{SUFFIX}")
    if given.set:
        options = SetOptions(given.name, given.task, given.classes, given.id)
        note = prepare_set(given.set, given.table, options)
        if note:
            print(note, flush=True)
        check_members(given.set, samples)
    encoder = load_encoder(given.kind, given.model, _options(given))
    plan = Plan(given.chunk, given.dtype, given.overwrite, given.readers, origin)
    result = extract(samples, encoder, output, plan)
    print(result)
    if given.set and result.left_out:
        print(
            "when all modalities are extracted, drop the samples that one of them lacks: "
            f"cggm extract finish {given.set}"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cggm extract",
        description="Extract features from texts, images, recordings or clips.",
    )
    commands = parser.add_subparsers(
        dest="kind", required=True, metavar="|".join(KINDS) + "|finish"
    )
    for kind in KINDS:
        _add_kind(commands.add_parser(kind, help=_WHAT[kind], description=_WHAT[kind]), kind)
    finish = commands.add_parser("finish", help="drop samples that a modality of a set lacks")
    finish.add_argument("set", help="folder of the feature set")
    return parser


def _add_kind(parser: argparse.ArgumentParser, kind: str) -> None:
    source = parser.add_argument_group("what from")
    either = source.add_mutually_exclusive_group(required=True)
    either.add_argument("--table", help="CSV in UTF-8 with a line of column names")
    if kind != "text":
        either.add_argument("--folder", help="all files below it; ids are their relative paths")
    source.add_argument("--column", default=kind, help="of the table; default: %(default)s")
    source.add_argument("--id", default="id", metavar="COLUMN", help="default: %(default)s")

    target = parser.add_argument_group("where to")
    either = target.add_mutually_exclusive_group(required=True)
    either.add_argument("--output", help=f"the file, ending in {SUFFIX}")
    either.add_argument("--set", metavar="FOLDER", help="a feature set, begun when it is not there")
    target.add_argument("--modality", help=f"name of the file in the set; default: {kind}")
    target.add_argument("--name", help="of a new set; default: that of its folder")
    target.add_argument("--task", help="of a new set: classification or regression")
    target.add_argument("--classes", nargs="+", metavar="NAME", help="of a new set, in their order")
    target.add_argument("--dtype", default="float32", choices=("float32", "float16"))
    target.add_argument("--overwrite", action="store_true", help="replace what has other settings")

    model = parser.add_argument_group("how")
    model.add_argument("--model", default=MODELS[kind], help="name or folder; default: %(default)s")
    model.add_argument("--revision", help="branch, tag or commit of a model on the hub")
    pooling = ("mean", "cls") if kind == "video" else ("tokens", "mean", "cls")
    model.add_argument("--pooling", default=POOLING[kind], choices=pooling)
    model.add_argument("--batch_size", type=int)
    model.add_argument("--device", default="auto")
    model.add_argument("--precision", default="auto", choices=PRECISIONS)
    model.add_argument("--chunk", type=int, default=256, help="samples per saved part")
    model.add_argument("--readers", type=int, default=4, help="threads that read files ahead")
    if kind == "text":
        model.add_argument(
            "--max_length", type=int, default=64, help="tokens; default: %(default)s"
        )
    if kind == "audio":
        model.add_argument("--max_seconds", type=float, default=30.0, help="default: %(default)s")
        model.add_argument("--whole_window", action="store_true", help="Whisper: always 30 s, slow")
    if kind == "video":
        model.add_argument("--frames_per_second", type=float, default=2.0)
        model.add_argument("--max_frames", type=int, default=64)
    if kind in ("image", "video"):
        model.add_argument("--weights", help="file for a timm model")
        model.add_argument("--mean", type=float, nargs="+", help="in place of the model's own")
        model.add_argument("--std", type=float, nargs="+", help="in place of the model's own")


def _options(given: argparse.Namespace) -> Options:
    values = {name: value for name, value in vars(given).items() if name in Options.__annotations__}
    for name in ("mean", "std"):
        if values.get(name):
            values[name] = tuple(values[name])
    return Options(**values)


def _samples(given: argparse.Namespace) -> tuple[list[Sample], str]:
    if given.table:
        samples = read_table(given.table, kind=given.kind, column=given.column, id_column=given.id)
        return samples, Path(given.table).name
    if given.set and not (Path(given.set) / "samples.csv").is_file():
        raise InputError(
            f"{given.set} has no samples.csv: begin it with --table, not with --folder"
        )
    return list_folder(given.folder, kind=given.kind), Path(given.folder).resolve().name


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


if __name__ == "__main__":
    sys.exit(main())
