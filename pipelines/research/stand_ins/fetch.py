"""Pinned packages, fetched into the cache through the clients that the machine has."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ....data.cache import one_at_a_time
from ....data.errors import InputError
from ....data.files import digest_of
from .packages import Files, Package
from .unpack import unpack

# No client is known to say nothing for longer than this when it still works.
SECONDS = 1800
FALLBACK = "the bundles' generated data need none of it"


def fetch(package: Package, cache_dir: str | Path) -> Path:
    """Give the file of a package, fetched when the cache does not hold it yet.

    It is fetched by ``pip``, ``npm`` or ``apt-get`` as they are configured on the machine, into a
    folder of its own; only a file with the pinned checksum is moved to ``packages`` in the cache.
    Other processes wait meanwhile.

    Args:
        package: what to fetch.
        cache_dir: the cache.

    Raises:
        InputError: the client is missing or fails, the package is not to be had, its file is
            another one than the pinned one, or the cache cannot be written.
    """
    with one_at_a_time(Path(cache_dir) / "packages") as folder:
        folder = folder.resolve()
        file = folder / package.file
        if file.is_file() and digest_of(file) == package.sha256:
            return file
        # We hold the lock: what lies there belonged to a process that was killed. Its client may
        # still run, so the new folder has a name of its own.
        for left in folder.glob(".fetching-*"):
            shutil.rmtree(left, ignore_errors=True)
        workspace = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder))
        try:
            _run_client(package, workspace)
            _check(workspace / package.file, package)
            os.replace(workspace / package.file, file)
        finally:
            shutil.rmtree(workspace, ignore_errors=True)
    return file


def fetch_files(package: Package, files: Files, folder: str | Path, cache_dir: str | Path) -> Path:
    """Give the folder with some files of a package, fetched and unpacked unless it is there.

    Raises:
        InputError: see :func:`fetch` and :func:`.unpack.unpack`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        unpack(fetch(package, cache_dir), folder, files.names, below=files.below)
    return folder


def command_for(package: Package) -> list[str]:
    """The command that fetches a package into the folder in which it is run.

    pip may only take wheels: it would run the set-up code of anything else.
    """
    if package.client == "pip":
        # Nothing is installed, so it need not suit this Python.
        options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
        quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
        pinned = f"{package.name}=={package.version}"
        return [sys.executable, "-m", "pip", "download", *options, *quiet, pinned]
    if package.client == "npm":
        pinned = f"{package.name}@{package.version}"
        return ["npm", "pack", "--ignore-scripts", "--loglevel=error", pinned]
    return ["apt-get", "download", "-q", f"{package.name}={package.version}"]


def _run_client(package: Package, folder: Path) -> None:
    if not _is_there(package.client):
        raise InputError(
            f"the program {package.client} is not installed, and {package} ({package.what}) is "
            f"fetched with it: install it, or do without; {FALLBACK}"
        )
    print(f"fetching {package} ({package.megabytes} MB) with {package.client}", file=sys.stderr)
    try:
        done = subprocess.run(
            command_for(package),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{package.client} did not fetch {package} in {SECONDS // 60} minutes; {FALLBACK}"
        ) from error
    if done.returncode:
        raise InputError(
            f"{package.client} could not fetch {package} ({package.what}): "
            f"{_reason(done.stderr or done.stdout)}; check the network, and whether your package "
            f"index holds it; {FALLBACK}"
        )


def _is_there(client: str) -> bool:
    if client == "pip":
        return importlib.util.find_spec("pip") is not None
    return shutil.which(client) is not None


def _reason(output: str) -> str:
    """The line in which a client says what went wrong: the first that it marks, or the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marks = ("error", "npm error", "npm err!", "e:")
    telling = [line for line in lines if line.lower().startswith(marks)]
    return (telling + lines[-1:] + ["it did not say why"])[0][:300].rstrip(".")


def _check(file: Path, package: Package) -> None:
    if not file.is_file():
        names = ", ".join(sorted(path.name for path in file.parent.iterdir()))
        raise InputError(
            f"{package.client} fetched {names or 'nothing'} for {package} instead of "
            f"{package.file}; {FALLBACK}"
        )
    digest = digest_of(file)
    if digest != package.sha256:
        raise InputError(
            f"the file {package.file} that {package.client} fetched has the checksum "
            f"{digest[:12]}…, expected is {package.sha256[:12]}…: it is not the package that was "
            f"tested, so it is not opened; {FALLBACK}"
        )
