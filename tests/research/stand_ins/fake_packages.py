"""Small packages made on the spot, and programs that pretend to fetch them."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from cggm.pipelines.research.stand_ins.packages import Package


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tar_of(files: Mapping[str, bytes], compression: str = "gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def write_tgz(path: Path, files: Mapping[str, bytes]) -> Path:
    path.write_bytes(tar_of(files))
    return path


def write_deb(path: Path, files: Mapping[str, bytes], *, data: str = "data.tar.xz") -> Path:
    """Three members, the first of odd size, so that the padding between members matters."""
    members = {
        "debian-binary": b"2.0\n\n",
        "control.tar.xz": tar_of({"./control": b"Package: fake\n"}, "xz"),
        data: tar_of({f"./{name}": content for name, content in files.items()}, "xz"),
    }
    with open(path, "wb") as file:
        file.write(b"!<arch>\n")
        for name, content in members.items():
            header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
            file.write(header.encode() + content + b"\n" * (len(content) % 2))
    return path


def write_wheel(folder: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """A wheel that pip takes, version 1.0."""
    info = f"{name}-1.0.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    return write_zip(folder / f"{name}-1.0-py3-none-any.whl", {**files, **about})


def pinned(file: Path, client: str = "npm", *, name: str = "fake", sha256: str = "") -> Package:
    """The pin of a file that was made on the spot."""
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    return Package(
        name, "1.0", client, file.name, sha256 or found, 0.1, "made-up foods", "public domain"
    )


def in_cache(cache: Path, package: Package, file: Path) -> None:
    """Put a file where it would be if it had been fetched."""
    (cache / "packages").mkdir(parents=True, exist_ok=True)
    os.replace(file, cache / "packages" / package.file)


def program(folder: Path, name: str, script: str) -> Path:
    """A program of this name in a folder, to be put on PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def picture(color: int = 0, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    pixels = np.full((24, 32, 3), color % 256, dtype=np.uint8)
    pixels[: color % 20] = 255 - color % 256
    Image.fromarray(pixels).save(content, form)
    return content.getvalue()
