"""Emoji with pictures and keywords: how positive the tweets with them are, or their group."""

from __future__ import annotations

import csv
from pathlib import Path

from ....data.files import digest_of, read_json
from .packages import EMOJI_KEYWORDS, EMOJI_PICTURES, EMOJI_SENTIMENT, Files
from .stand_in import StandIn, groups, large_classes, need

NAME = "Emoji sentiment"
GROUPS_NAME = "Emoji groups"
_RANKING = "Emoji_Sentiment_Data_v1.0.csv"
FILES = {
    EMOJI_PICTURES: Files("package/", ("emoji.json", "img/twitter/64/*.png")),
    EMOJI_KEYWORDS: Files("package/annotations/en/", ("annotations.json",)),
    EMOJI_SENTIMENT: Files("emosent/data/", (_RANKING,)),
}
GROUPS_FILES = {package: FILES[package] for package in (EMOJI_PICTURES, EMOJI_KEYWORDS)}
LEAST = 25
OCCURRENCES = 5
_VARIANT = "\ufe0f"  # asks for the colored form of a sign


def read(pictures: Path, keywords: Path, sentiment: Path, root: Path) -> StandIn:
    """List the emoji that at least 5 tweets of the ranking hold.

    The label is the ranking's sentiment score: share of positive minus share of negative tweets,
    in [-1, 1], with one tweet of each kind added as the ranking does. Emoji with the same picture
    or the same keywords are one group.

    Args:
        pictures: the unpacked pictures and their table.
        keywords: the unpacked annotations.
        sentiment: the unpacked ranking.
        root: paths in the table are relative to this folder.
    """
    known = _emoji(pictures, keywords, root)
    scores: dict[str, float] = {}
    with open(sentiment / _RANKING, encoding="utf-8", newline="") as file:
        ranking = list(csv.DictReader(file))
    rare = 0
    for entry in ranking:
        if int(entry["Occurrences"]) < OCCURRENCES:
            rare += 1
        else:
            scores[entry["Emoji"].replace(_VARIANT, "")] = _score(entry)
    rows = [row | {"label": f"{scores[sign]:.6f}"} for sign, row in known.items() if sign in scores]
    need(rows, EMOJI_SENTIMENT, "emoji that are known")
    _group(rows, root)
    return StandIn(
        name=NAME,
        task="regression",
        packages=list(FILES),
        description=(
            "An emoji: picture (Twemoji) and English name with keywords (CLDR); the label is the "
            "share of positive minus that of negative tweets with it, in [-1, 1]."
        ),
        rows=rows,
        kinds={"text": "text", "vision": "image"},
        left_out={
            f"in fewer than {OCCURRENCES} tweets": rare,
            "without a picture or keywords": len(scores) - len(rows),
        },
    )


def read_groups(pictures: Path, keywords: Path, root: Path) -> StandIn:
    """List the emoji with keywords; the label is the group Unicode sorts them into.

    Args:
        pictures: the unpacked pictures and their table.
        keywords: the unpacked annotations.
        root: paths in the table are relative to this folder.
    """
    known = [row | {"label": row["category"]} for row in _emoji(pictures, keywords, root).values()]
    rows = large_classes(known, LEAST)
    _group(rows, root)
    return StandIn(
        name=GROUPS_NAME,
        task="classification",
        packages=list(GROUPS_FILES),
        description=(
            "An emoji: picture (Twemoji) and English name with keywords (CLDR); the label is its "
            "group in Unicode."
        ),
        rows=rows,
        kinds={"text": "text", "vision": "image"},
        left_out={f"of a group with fewer than {LEAST}": len(known) - len(rows)},
    )


def _score(entry: dict[str, str]) -> float:
    negative, neutral, positive = (
        int(entry[name]) + 1 for name in ("Negative", "Neutral", "Positive")
    )
    return (positive - negative) / (negative + neutral + positive)


def _emoji(pictures: Path, keywords: Path, root: Path) -> dict[str, dict[str, str]]:
    """Rows without label and group, by the emoji itself."""
    table = read_json(pictures / "emoji.json")
    words = read_json(keywords / "annotations.json")
    annotations = {
        sign.replace(_VARIANT, ""): entry
        for sign, entry in words["annotations"]["annotations"].items()
    }
    rows: dict[str, dict[str, str]] = {}
    for entry in table:
        sign = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
        sign = sign.replace(_VARIANT, "")
        picture = pictures / "img" / "twitter" / "64" / entry["image"]
        if sign in annotations and picture.is_file():
            rows[sign] = {
                "id": entry["unified"],
                "text": _text(annotations[sign]),
                "vision": picture.relative_to(root).as_posix(),
                "category": entry["category"],
            }
    need(rows, EMOJI_PICTURES, "emoji with keywords")
    return rows


def _text(entry: dict[str, list[str]]) -> str:
    name = entry.get("tts", [""])[0]
    words = [word for word in entry.get("default", []) if word != name]
    return f"{name}: {', '.join(words)}" if name and words else name or ", ".join(words)


def _group(rows: list[dict[str, str]], root: Path) -> None:
    same = groups([row["text"] for row in rows], [digest_of(root / row["vision"]) for row in rows])
    for row, group in zip(rows, same, strict=True):
        row["group"] = group
        del row["category"]
