"""Files that are something else than their name says: empty, a pointer, a web page, an archive."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError

_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
    b"PK\x03\x04": "a zip archive (or a file of PyTorch or NumPy, which are such archives)",
}


def check_content(path: str | Path, expected: str) -> None:
    """Say what a file is when its first bytes show that it is not what is needed.

    Args:
        path: the file.
        expected: what it should be, such as "the CMU-MOSI pickle".

    Raises:
        InputError: no such file, a folder, empty, not readable, a Git LFS pointer, a web page or an
            archive.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected {expected}")
    if not path.is_file():
        raise InputError(f"there is no file {path}; expected {expected}")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); expected {expected}"
        ) from error
    fault = foreign_content(head) or _archive(head)
    if fault:
        raise InputError(f"{path} {fault}; expected {expected}")


def foreign_content(head: bytes) -> str | None:
    """Tell what a download left in place of a file, from its first 512 bytes.

    Returns:
        The end of a sentence that begins with the name of the file; None if nothing is wrong.
    """
    if not head:
        return "is empty (0 bytes): copy or download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer and not the file itself: run git lfs pull"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "is a web page (HTML): log in where it is offered and download it again"
    return None


def _archive(head: bytes) -> str | None:
    kind = next((name for start, name in _ARCHIVES.items() if head.startswith(start)), None)
    return f"is {kind}: unpack it first" if kind else None
