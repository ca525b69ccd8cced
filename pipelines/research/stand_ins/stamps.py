"""Tux Paint's stamps: the kind of a thing, by picture, written name and spoken name."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

from ....data.errors import InputError
from ....data.files import digest_of
from .packages import STAMPS, Files
from .stand_in import StandIn, groups, large_classes, need

NAME = "Tux Paint stamps"
# Without a program that draws SVG files it is a smaller set with fewer classes: another one.
NAME_WITHOUT_DRAWINGS = "Tux Paint stamps without drawings"
_NOT_DRAWN = "drawn in SVG, for which rsvg-convert is not installed"
_SPOKEN = "_desc_fr.ogg"
FILES = {
    STAMPS: Files("usr/share/tuxpaint/stamps/", ("*.txt", "*.png", "*.svg", f"*{_SPOKEN}")),
}
LEAST = 25
PIXELS = 224
# Letters, digits and signs: what is said and what is seen are the same thing there.
WITHOUT = ("symbols",)


def read(stamps: Path, root: Path) -> StandIn:
    """List the stamps that have a picture, a text and a French spoken description.

    The class of a stamp is the topmost folder it lies in. Stamps with the same text, picture or
    recording are one group.

    Args:
        stamps: the unpacked package; rendered drawings are put beside the others.
        root: paths in the table are relative to this folder.
    """
    rows: list[dict[str, str]] = []
    left_out: Counter[str] = Counter()
    texts = sorted(stamps.rglob("*.txt"))
    need(texts, STAMPS, "texts")
    render = renderer()
    for file in texts:
        row, reason = _row(file, stamps, root, render)
        if row is None:
            left_out[reason] += 1
        else:
            rows.append(row)
    kept = large_classes(rows, LEAST)
    left_out[f"of a class with fewer than {LEAST}"] = len(rows) - len(kept)
    keys = [[digest_of(root / row[name]) for row in kept] for name in ("vision", "audio")]
    same = groups([row["text"] for row in kept], *keys)
    for row, group in zip(kept, same, strict=True):
        row["group"] = group
    return StandIn(
        name=NAME_WITHOUT_DRAWINGS if left_out[_NOT_DRAWN] else NAME,
        task="classification",
        packages=list(FILES),
        description=(
            "A stamp of a drawing program: picture, English name, and its name spoken in French; "
            "the label is the folder it is sorted into."
        ),
        rows=kept,
        kinds={"text": "text", "audio": "audio", "vision": "image"},
        left_out=left_out,
    )


def renderer() -> list[str] | None:
    """The command that draws an SVG file, without its two files; None when there is none."""
    if shutil.which("rsvg-convert"):
        return ["rsvg-convert", "--keep-aspect-ratio", "-w", str(PIXELS), "-h", str(PIXELS), "-o"]
    return None


def _row(
    file: Path, top: Path, root: Path, render: list[str] | None
) -> tuple[dict[str, str] | None, str]:
    name = file.relative_to(top).with_suffix("")
    audio = file.with_name(file.stem + _SPOKEN)
    text = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    if name.parts[0] in WITHOUT:
        return None, f"of the class {name.parts[0]}"
    if not text or not audio.is_file():
        return None, "without a text" if not text else "without a French recording"
    picture = file.with_suffix(".png")
    if not picture.is_file():
        drawing = file.with_suffix(".svg")
        if not drawing.is_file():
            return None, "without a picture"
        if render is None:
            return None, _NOT_DRAWN
        _draw(render, drawing, picture)
    return {
        "id": name.as_posix(),
        "label": name.parts[0],
        "text": text,
        "audio": audio.relative_to(root).as_posix(),
        "vision": picture.relative_to(root).as_posix(),
    }, ""


def _draw(render: list[str], drawing: Path, picture: Path) -> None:
    done = subprocess.run(
        [*render, picture, drawing], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode or not picture.is_file():
        raise InputError(f"{drawing} cannot be drawn ({done.stderr.strip()}); remove rsvg-convert")
