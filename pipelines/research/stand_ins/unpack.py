"""The files of a package that are needed, unpacked so that it cannot write elsewhere."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ....data.errors import InputError
from ....data.files import whole_folder

MOST_FILES = 50_000
MOST_BYTES = 2 * 2**30

# What damage inside an archive, or a full disk, is reported as.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,
    OSError,
)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str  # "file", "folder" or what else it is
    content: Callable[[], IO[bytes] | None]


def unpack(
    archive: str | Path, folder: str | Path, patterns: Sequence[str], *, below: str = ""
) -> Path:
    """Unpack files of a wheel (zip), an npm package (tgz) or a Debian package (deb).

    The folder is there whole or not at all; one that is there already stays as it is. Times and
    rights of the files are not taken over.

    Args:
        archive: the package; its ending says what it is.
        folder: where the files go, with their folders.
        patterns: for the names inside; ``*`` stands for anything, ``/`` too.
        below: a folder inside, ending in ``/``, that the names are below; it is left away.

    Returns:
        The folder.

    Raises:
        InputError: the archive is damaged; a name in it leads elsewhere; a chosen member is a link
            or a device; it holds too much; or no name fits.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.is_dir():
        return folder
    with whole_folder(folder, replace=lambda _: False, durable=False) as place:
        try:
            with _members(archive) as members:
                _write_all(members, archive, place, patterns, below)
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(f"{archive} cannot be unpacked to {folder} ({error})") from error
        if not any(place.iterdir()):
            raise InputError(
                f"{archive} holds no file like {' or '.join(patterns)}; fetch it again"
            )
    return folder


def _write_all(
    members: Iterator[_Member], archive: Path, place: Path, patterns: Sequence[str], below: str
) -> None:
    for member in _checked(members, archive):
        name = member.name.removeprefix("./")
        if member.kind == "folder" or not name.startswith(below):
            continue
        name = name.removeprefix(below)
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            _write(member, place / name, archive)


def _checked(members: Iterator[_Member], archive: Path) -> Iterator[_Member]:
    size = 0
    for number, member in enumerate(members, start=1):
        path = PurePosixPath(member.name)
        odd = "\\" in member.name or ":" in member.name or "\0" in member.name
        if path.is_absolute() or ".." in path.parts or odd:
            raise InputError(
                f"{archive} holds the name {member.name!r}, which leads out of the folder it is "
                "unpacked to; it is not unpacked"
            )
        size += member.size
        if number > MOST_FILES or size > MOST_BYTES:
            raise InputError(
                f"{archive} holds more than {MOST_FILES:,} files or {MOST_BYTES / 2**30:.0f} GB; "
                "it is not unpacked"
            )
        yield member


def _write(member: _Member, target: Path, archive: Path) -> None:
    if member.kind != "file":
        raise InputError(f"{archive}: {member.name} is a {member.kind}; it is not unpacked")
    if target.exists():
        raise InputError(f"{archive} holds {member.name} twice; it is not unpacked")
    target.parent.mkdir(parents=True, exist_ok=True)
    source = member.content()
    assert source is not None, "a regular file has content"
    with source, open(target, "xb") as file:
        shutil.copyfileobj(_Part(source, member.size), file, 2**20)
        if file.tell() != member.size:
            raise ValueError(f"{member.name} is cut short")


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as file:
            yield (_zip_member(file, info) for info in file.infolist())
        return
    with open(archive, "rb") as file:
        content = _debian_data(file, archive) if archive.suffix == ".deb" else file
        # A stream, not seekable: members must be read in order, which is what `unpack` does.
        with tarfile.open(fileobj=content, mode="r|*") as tar:
            yield (_tar_member(tar, info) for info in tar)


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = "folder" if info.is_dir() else "file"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "link" if stat.S_ISLNK(mode) else "device"
    return _Member(info.filename, info.file_size, kind, lambda: file.open(info))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    kind = "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "device"
    kind = "file" if info.isreg() else kind
    return _Member(info.name, info.size, kind, lambda: tar.extractfile(info))


def _debian_data(file: IO[bytes], archive: Path) -> Any:
    """The compressed tar file with the data: a part of the ar archive that a Debian package is."""
    if file.read(8) != b"!<arch>\n":
        raise InputError(f"{archive} is not a Debian package; fetch it again")
    while len(header := file.read(60)) == 60:
        name, size = header[:16].decode("ascii").strip(" /"), int(header[48:58])
        if name in ("data.tar.xz", "data.tar.gz", "data.tar.bz2", "data.tar"):
            return _Part(file, size)
        file.seek(size + size % 2, os.SEEK_CUR)
    raise InputError(f"{archive} holds no data.tar that can be read; fetch it again")


class _Part:
    """The next `size` bytes of a file, and no more."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        block = self._file.read(size)
        self._left -= len(block)
        return block
