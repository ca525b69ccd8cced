"""What is released: a source archive whose wheel is that of the repository, and that starts."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""
# What a user or an auditor of the source archive looks for, beside the packages.
EXPECTED = ("README.md", "LICENSE", "NOTICE", "pyproject.toml", "bundles/brats/train.json")


def run(words: list[str | Path], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(kind: str, source: Path, target: Path) -> Path:
    """Build as pip does, with the setuptools that are installed; give the file."""
    return target / run(["-c", BUILD, kind, target], source).split()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository alone: building leaves others behind."""
    copy = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


def test_the_source_archive_builds_the_same_wheel_and_it_starts(
    source: Path, tmp_path: Path
) -> None:
    archive = built("build_sdist", source, tmp_path)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert [name for name in EXPECTED if not (unpacked / name).is_file()] == []

    contents = []
    for number, tree in enumerate((source, unpacked)):
        (tmp_path / str(number)).mkdir()
        wheel = built("build_wheel", tree, tmp_path / str(number))
        with zipfile.ZipFile(wheel) as file:
            contents.append({one.filename: one.CRC for one in file.infolist()})
    assert contents[0].keys() == contents[1].keys()
    differing = {name for name in contents[0] if contents[0][name] != contents[1][name]}
    assert all(name.endswith(".dist-info/RECORD") for name in differing), differing

    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    run([*pip, installed, wheel], empty)
    told = run(["-m", "cggm", "--version"], empty, PYTHONPATH=str(installed))
    where = run(["-c", "import cggm; print(cggm.__file__)"], empty, PYTHONPATH=str(installed))
    assert Path(where.strip()).is_relative_to(installed)
    assert wheel.name.split("-")[1] in told
