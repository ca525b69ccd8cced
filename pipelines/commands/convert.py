"""How does a published data set become a feature set, once and for all?

``cggm convert mosi mosi_data.pkl features/mosi``; likewise ``iemocap`` and
``food101``. The result is there whole or not at all, and the only thing that training reads.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...data.errors import InputError
from ...data.features.feature_set import write_feature_set_header, write_samples
from ...data.features.file import SUFFIX, write_features
from ...data.files import remove_leftovers, write_csv, write_json, write_text
from ...data.published.food101 import MOST_LEFT_OUT, read_food101
from ...data.published.iemocap import CLASSES, read_iemocap
from ...data.published.mosi import PADDINGS, read_mosi
from ...data.published.published_set import PublishedSet, fingerprint
from .failures import report_plainly

RECORD = "conversion.json"
IEMOCAP_FILES = {"audio": "comparE", "vision": "denseface", "text": "bert_large"}


def main() -> int:
    """Convert what the command line names."""
    report_plainly()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = _parser().parse_args()
    output = Path(given.output)
    _check_free(output)
    found = read(given)
    print("\n".join([*found.describe(), *(f"note: {note}" for note in found.notes)]), flush=True)
    if convert(found, output, dtype=given.dtype):
        print(f"written: {output}")
        if found.images:
            command = "cggm extract"
            print("next:")
            for kind in ("image", "text"):
                print(f"  {command} {kind} --table {output / 'samples.csv'} --set {output}")
            print(f"  {command} finish {output}")
    else:
        print(f"already there: {output}")
    return 0


def read(given: argparse.Namespace) -> PublishedSet:
    """Read the published data set that the command line describes."""
    if given.kind == "mosi":
        return read_mosi(given.source, padding=given.padding, name=given.name, progress=show)
    if given.kind == "iemocap":
        return read_iemocap(
            given.source,
            fold=given.fold,
            audio=given.audio,
            vision=given.vision,
            text=given.text,
            classes=given.classes,
            progress=show,
        )
    return read_food101(
        given.source,
        most_left_out=given.most_left_out,
        check_duplicates=given.check_duplicates,
        progress=show,
    )


def convert(found: PublishedSet, output: str | Path, *, dtype: str = "float32") -> bool:
    """Write a feature set, or a table of images and texts for the extraction of features.

    Args:
        found: what was read.
        output: the folder; made whole or not at all.
        dtype: "float32" or "float16", of stored features.

    Returns:
        False if it is there already, made of the same source with the same settings.

    Raises:
        InputError: there is something else in its place, or it cannot be written.
    """
    output = Path(output)
    settings = found.settings | ({} if found.images else {"dtype": dtype})
    record = {
        "name": found.name,
        "files": sorted(path.name for path in found.files),
        "settings": settings,
        "fingerprint": fingerprint(found.files, settings),
    }
    if _is_there(output, record):
        return False
    with _whole_folder(output) as folder:
        _write(found, folder, output, dtype)
        write_json(folder / RECORD, record)
    return True


def show(items: Iterable[Any], what: str) -> Iterable[Any]:
    """Go through items under a progress bar; without one where there is no terminal."""
    return tqdm(items, desc=what, unit="sample", disable=None, leave=False)


def add_options(parser: argparse._ActionsContainer, kind: str) -> None:
    """Add the options of a kind of source."""
    if kind == "mosi":
        parser.add_argument(
            "--padding",
            choices=PADDINGS,
            default="each",
            help="take zero steps off each modality, or only where all are zero",
        )
        parser.add_argument("--name", default="CMU-MOSI", help="of data in the same form")
    elif kind == "iemocap":
        parser.add_argument("--fold", default="1", help="a folder of target")
        for name, default in (
            ("audio", "comparE"),
            ("vision", "denseface"),
            ("text", "bert_large"),
        ):
            parser.add_argument(
                f"--{name}", default=default, metavar="NAME", help="name of the file"
            )
        parser.add_argument(
            "--classes",
            nargs="+",
            default=list(CLASSES),
            metavar="NAME",
            help="names of the columns of the labels",
        )
    else:
        parser.add_argument(
            "--most_left_out",
            type=float,
            default=MOST_LEFT_OUT,
            metavar="SHARE",
            help="largest share of samples that may lack an image or a text",
        )
        parser.add_argument(
            "--check_duplicates", action="store_true", help="look for images in two parts"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cggm convert",
        description="Turn a published data set into a feature set; docs/datasets.md says more.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    sources = {
        "mosi": "the pickle of CMU-MOSI",
        "iemocap": "the folder with A, V, L and target",
        "food101": "the folder with images and texts, or with JSON lists",
    }
    for kind, help_text in sources.items():
        sub = kinds.add_parser(kind)
        sub.add_argument("source", help=help_text)
        sub.add_argument("output", help="the folder to write")
        add_options(sub, kind)
        sub.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    return parser


def _check_free(output: Path) -> None:
    """Refuse what can never become the output, before anything is read."""
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() and not (output / RECORD).is_file():
        what = "is not empty" if output.is_dir() else "is a file"
        raise InputError(
            f"{output} {what} and was not written by this command; choose another output"
        )


def _is_there(output: Path, record: dict[str, Any]) -> bool:
    _check_free(output)
    if not (output / RECORD).is_file():
        return False
    try:
        old = json.loads((output / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = {}
    if old == record:
        return True
    changed = [
        name for name in record if not isinstance(old, dict) or old.get(name) != record[name]
    ]
    raise InputError(
        f"{output} already holds a feature set made of another source or with other settings "
        f"(different: {', '.join(changed)}); choose another output, or remove it first"
    )


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """Give a folder beside the output that takes its place when all went well."""
    output = output.absolute()
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        remove_leftovers(output)
        temporary.mkdir(parents=True)
        yield temporary
        if output.is_dir():
            output.rmdir()  # it is empty; not every system replaces a folder
        os.replace(temporary, output)
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({error.strerror}): choose another output folder, or make "
            "room and give yourself the right to write there"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(found: PublishedSet, folder: Path, output: Path, dtype: str) -> None:
    write_feature_set_header(
        folder,
        name=found.name,
        task=found.task,
        classes=found.classes,
        source=found.source,
        terms=found.terms,
        description=" ".join(f"{note[:1].upper()}{note[1:]}." for note in found.notes),
        modalities=list(found.modalities) or None,
    )
    if found.images is not None:
        _write_pairs(found.rows, folder, os.path.relpath(found.images.resolve(), output.resolve()))
    else:
        write_samples(folder, found.rows)
    for name, modality in found.modalities.items():
        about = {"source": found.source, "settings": found.settings}
        samples = show(modality.read(), f"writing {name}")
        write_features(folder / f"{name}{SUFFIX}", samples, about=about, dtype=dtype)
    if found.left_out:
        write_csv(folder / "left_out.csv", found.left_out)


def _write_pairs(rows: list[dict[str, Any]], folder: Path, images: str) -> None:
    """Write samples.csv with images and texts; exactly, so not as a table for spreadsheets."""
    text = io.StringIO(newline="")
    columns = ("id", "label", "split", "image", "text")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        row = row | {"image": (Path(images) / row["image"]).as_posix()}
        writer.writerow([row[name] for name in columns])
    write_text(folder / "samples.csv", text.getvalue())


if __name__ == "__main__":
    sys.exit(main())
