"""`cggm convert`: a published data set as a feature set.

``cggm convert mosi mosi_data.pkl features/mosi``; likewise ``iemocap`` and
``food101``. The result is there whole or not at all, and the only thing that training reads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from tqdm import tqdm

from ...data.errors import InputError
from ...data.features.feature_set import write_feature_set_header, write_samples
from ...data.features.file import SUFFIX, write_features
from ...data.files import read_json, whole_folder, write_csv, write_json
from ...data.published.food101 import MOST_LEFT_OUT, read_food101
from ...data.published.iemocap import CLASSES, read_iemocap
from ...data.published.mosi import read_mosi
from ...data.published.published_set import PublishedSet, fingerprint
from ...data.word_lists import WordLists

RECORD = "conversion.json"
_TERMINATED = 143  # what a shell shows after SIGTERM

Output = Annotated[Path, typer.Argument(help="The folder to write.")]
Dtype = Annotated[Literal["float32", "float16"], typer.Option(help="Of stored features.")]
Padding = Annotated[
    Literal["each", "together"],
    typer.Option(help="Take zero steps off each modality, or only where all are zero."),
]
Name = Annotated[str, typer.Option(help="Of data in the form of CMU-MOSI.")]
Fold = Annotated[str, typer.Option(help="A folder of IEMOCAP's target.")]
FileName = Annotated[str, typer.Option(metavar="NAME", help="Name of IEMOCAP's file.")]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME ...", help=f"Columns of IEMOCAP's labels, by default {' '.join(CLASSES)}."
    ),
]
MostLeftOut = Annotated[
    float,
    typer.Option(
        "--most_left_out",
        metavar="SHARE",
        help="Largest share of samples of Food 101 that may lack an image or a text.",
    ),
]
CheckDuplicates = Annotated[
    bool, typer.Option("--check_duplicates", help="Look for images of Food 101 in two parts.")
]

app = typer.Typer(
    help="Turn a published data set into a feature set; docs/datasets.md says more.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command()
def mosi(
    source: Annotated[Path, typer.Argument(help="The pickle of CMU-MOSI.")],
    output: Output,
    padding: Padding = "each",
    name: Name = "CMU-MOSI",
    dtype: Dtype = "float32",
) -> None:
    """Convert CMU-MOSI."""
    _convert(lambda: read_mosi(source, padding=padding, name=name, progress=show), output, dtype)


@app.command(cls=WordLists)
def iemocap(
    source: Annotated[Path, typer.Argument(help="The folder with A, V, L and target.")],
    output: Output,
    fold: Fold = "1",
    audio: FileName = "comparE",
    vision: FileName = "denseface",
    text: FileName = "bert_large",
    classes: Classes = None,
    dtype: Dtype = "float32",
) -> None:
    """Convert one fold of IEMOCAP."""

    def read() -> PublishedSet:
        return read_iemocap(
            source,
            fold=fold,
            audio=audio,
            vision=vision,
            text=text,
            classes=classes or CLASSES,
            progress=show,
        )

    _convert(read, output, dtype)


@app.command()
def food101(
    source: Annotated[
        Path, typer.Argument(help="The folder with images and texts, or with JSON lists.")
    ],
    output: Output,
    most_left_out: MostLeftOut = MOST_LEFT_OUT,
    check_duplicates: CheckDuplicates = False,
    dtype: Dtype = "float32",
) -> None:
    """List the samples of UPMC-Food 101, for the extraction of their features."""

    def read() -> PublishedSet:
        return read_food101(
            source,
            most_left_out=most_left_out,
            check_duplicates=check_duplicates,
            progress=show,
        )

    _convert(read, output, dtype)


def _convert(read: Callable[[], PublishedSet], output: Path, dtype: str) -> None:
    """Read, convert, and print what was read and what comes next."""
    # What is half written is removed, also when the command is ended by `kill`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    _check_free(output)
    published = read()
    notes = [f"note: {note}" for note in published.notes]
    print("\n".join([*published.describe(), *notes]), flush=True)
    if not convert(published, output, dtype=dtype):
        print(f"already there: {output}")
        return
    print(f"written: {output}")
    if published.images:
        print("next:")
        for kind in ("image", "text"):
            print(f"  cggm extract {kind} --table {output / 'samples.csv'} --set {output}")
        print(f"  cggm extract finish {output}")


def convert(published: PublishedSet, output: str | Path, *, dtype: str = "float32") -> bool:
    """Write a feature set, or a table of images and texts for the extraction of features.

    Args:
        published: what was read.
        output: the folder; made whole or not at all.
        dtype: "float32" or "float16", of stored features.

    Returns:
        False if it is there already, made of the same source with the same settings.

    Raises:
        InputError: there is something else in its place, or it cannot be written.
    """
    output = Path(output)
    settings = published.settings | ({} if published.images else {"dtype": dtype})
    record = {
        "name": published.name,
        "files": sorted(path.name for path in published.files),
        "settings": settings,
        "fingerprint": fingerprint(published.files, settings),
    }
    if _is_there(output, record):
        return False
    with whole_folder(output) as folder:
        _write(published, folder, output, dtype)
        write_json(folder / RECORD, record)
    return True


def show(items: Iterable[Any], what: str, unit: str = "sample") -> Iterable[Any]:
    """Go through items under a progress bar; without one where there is no terminal."""
    return tqdm(items, desc=what, unit=unit, disable=None, leave=False)


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
        old = read_json(output / RECORD)
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


def _write(published: PublishedSet, folder: Path, output: Path, dtype: str) -> None:
    write_feature_set_header(
        folder,
        name=published.name,
        task=published.task,
        classes=published.classes,
        source=published.source,
        terms=published.terms,
        description=" ".join(f"{note[:1].upper()}{note[1:]}." for note in published.notes),
        modalities=list(published.modalities) or None,
    )
    if published.images is not None:
        images = os.path.relpath(published.images.resolve(), output.resolve())
        _write_pairs(published.rows, folder, images)
    else:
        write_samples(folder, published.rows)
    for name, modality in published.modalities.items():
        about = {"source": published.source, "settings": published.settings}
        samples = show(modality.read(), f"writing {name}")
        write_features(folder / f"{name}{SUFFIX}", samples, about=about, dtype=dtype)
    if published.left_out:
        write_csv(folder / "left_out.csv", published.left_out)


def _write_pairs(rows: list[dict[str, Any]], folder: Path, images: str) -> None:
    """Write samples.csv with images and texts; exactly, so not as a table for spreadsheets."""
    paired = [row | {"image": (Path(images) / row["image"]).as_posix()} for row in rows]
    write_csv(folder / "samples.csv", paired, ("id", "label", "split", "image", "text"))
