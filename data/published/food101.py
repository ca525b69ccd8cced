"""The images and texts of UPMC-Food 101 in a folder, joined to samples.

Two layouts are read: the published one,

    images/{train,test}/<class>/<file>    texts/{train,test}_titles.csv    (file, title, class)

and lists in JSON, ``{train,dev,test}.json``, with ``id``, ``img_path``, ``label`` and ``text`` or
``text_tokens``. No image is opened here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from ..errors import InputError, some
from ..files import digest_of
from .food_tables import Entry, read_lists, read_titles
from .published_set import Progress, PublishedSet, share, silently

LAYOUTS = "images/{train,test}/<class>/ and texts/{train,test}_titles.csv, or {train,test}.json"
MOST_LEFT_OUT = 0.05
SOURCE = "UPMC-Food 101 (Wang et al. 2015), images and titles of web pages"
TERMS = "Collected from the web for research; see the owner's page, images belong to their makers."


def read_food101(
    folder: str | Path,
    *,
    most_left_out: float = MOST_LEFT_OUT,
    check_duplicates: bool = False,
    progress: Progress = silently,
) -> PublishedSet:
    """List the samples of UPMC-Food 101 that have an image and a text.

    The published test part stays the test part. Classes are in the order of the alphabet, as in the
    authors' code.

    Args:
        folder: in one of the two layouts.
        most_left_out: largest share of samples that may lack an image or a text.
        check_duplicates: compare the content of images of equal size across parts.
        progress: goes through the images.

    Raises:
        InputError: the layout is another one, a table is broken, too much is missing, or a class
            is in the test part only.
    """
    root = Path(folder)
    entries, files = _listed(root)
    left_out = [_without(entry) for entry in entries if entry.fault]
    used = [entry for entry in entries if not entry.fault]
    _check_left_out(left_out, len(entries), most_left_out, root)
    names = _ids(used)
    classes = sorted({entry.label for entry in used})
    notes = _check_classes(used, root)
    notes += _what_is_left_out(left_out, len(entries))
    mended = Counter(entry.mended for entry in used if entry.mended)
    notes += [f"{share(count, len(entries))} samples have {what}" for what, count in mended.items()]
    if check_duplicates:
        notes += _duplicates(root, used, names, progress)
    return PublishedSet(
        name="UPMC-Food 101",
        task="classification",
        classes=classes,
        rows=[_row(name, entry) for name, entry in zip(names, used, strict=True)],
        modalities={},
        notes=notes,
        files=files,
        settings={"most_left_out": most_left_out, "samples": len(used)},
        source=SOURCE,
        terms=TERMS,
        left_out=left_out,
        images=root,
    )


def _listed(root: Path) -> tuple[list[Entry], list[Path]]:
    """What the folder lists, and in which files."""
    tables = sorted(root.glob("texts/*_titles.csv"))
    lists = [path for name in ("train", "dev", "test") if (path := root / f"{name}.json").is_file()]
    if (root / "images").is_dir() and tables:
        return read_titles(root), tables
    if lists:
        return read_lists(root), lists
    raise InputError(f"{root} holds no UPMC-Food 101; expected {LAYOUTS}")


def _row(name: str, entry: Entry) -> dict[str, str]:
    return {
        "id": name,
        "label": entry.label,
        "split": entry.split,
        "image": entry.image,
        "text": entry.text,
    }


def _without(entry: Entry) -> dict[str, str]:
    return {
        "split": entry.split,
        "class": entry.label,
        "image": entry.image,
        "text": entry.text,
        "reason": entry.fault,
    }


def _check_left_out(left_out: list[dict[str, str]], total: int, most: float, root: Path) -> None:
    if total == 0 or len(left_out) == total:
        raise InputError(f"{root} holds no sample with an image and a text; expected {LAYOUTS}")
    if len(left_out) > most * total:
        reasons = Counter(row["reason"] for row in left_out).most_common()
        found = ", ".join(f"{count:,} with {reason}" for reason, count in reasons)
        shown = some([row["image"] or row["text"] for row in left_out])
        raise InputError(
            f"{root}: {share(len(left_out), total)} samples cannot be used ({found}): {shown}; "
            f"expected at most {100 * most:g} %: unpack all archives, or allow more with "
            "--most_left_out"
        )


def _what_is_left_out(left_out: list[dict[str, str]], total: int) -> list[str]:
    counts = Counter(row["reason"] for row in left_out)
    return [
        f"{share(count, total)} samples are left out: {reason}"
        for reason, count in counts.most_common()
    ]


def _ids(entries: list[Entry]) -> list[str]:
    """Names of the entries; with the part in front where two parts use the same."""
    counts = Counter(entry.name for entry in entries)
    names = [e.name if counts[e.name] == 1 else f"{e.split}-{e.name}" for e in entries]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{len(twice):,} samples have the same name and part: {some(twice)}; rename the images"
        )
    return names


def _check_classes(entries: list[Entry], root: Path) -> list[str]:
    classes: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        classes[entry.split].add(entry.label)
    for part in ("train", "test"):
        if part not in classes:
            raise InputError(f"{root} has no sample for {part}; expected {LAYOUTS}")
    unlearned = sorted(set().union(*classes.values()) - classes["train"])
    if unlearned:
        raise InputError(
            f"{root}: no training sample is of these classes: {some(unlearned)}; unpack all of "
            "train, or remove them from the other parts"
        )
    return [
        f"warning: {part} has no sample of {some(sorted(lacking))}"
        for part in ("val", "test")
        if part in classes and (lacking := classes["train"] - classes[part])
    ]


def _duplicates(
    root: Path, entries: list[Entry], names: list[str], progress: Progress
) -> list[str]:
    """Images that lie in several parts, by content; only files of equal size are read."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for row, entry in enumerate(entries):
        by_size[(root / entry.image).stat().st_size].append(row)
    suspects = [
        row
        for rows in by_size.values()
        if len({entries[row].split for row in rows}) > 1
        for row in rows
    ]
    by_content: dict[str, list[int]] = defaultdict(list)
    for row in progress(suspects, "images of equal size"):
        by_content[digest_of(root / entries[row].image)].append(row)
    pairs = [
        " = ".join(names[row] for row in rows)
        for rows in by_content.values()
        if len({entries[row].split for row in rows}) > 1
    ]
    if not pairs:
        return ["no image lies in two parts"]
    return [f"warning: {len(pairs):,} images lie in two parts: {some(pairs)}; they are kept"]
