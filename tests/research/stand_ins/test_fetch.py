"""Fetching: nothing but what is pinned gets into the cache."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.data.files import digest_of
from cggm.pipelines.research.stand_ins import packages
from cggm.pipelines.research.stand_ins.fetch import command_for, fetch
from cggm.pipelines.research.stand_ins.packages import Package

from .fake_packages import pinned, program, write_tgz, write_wheel

FORK = multiprocessing.get_context("fork")  # a process that need not import everything again
PROGRAMS = f"/usr/bin{os.pathsep}/bin"


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an npm on PATH that runs a script."""

    def make(script: str) -> None:
        program(tmp_path / "programs", "npm", script)
        monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}{os.pathsep}{PROGRAMS}")

    return make


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return pinned(write_tgz(tmp_path / "fake-1.0.tgz", {"package/a.txt": b"a"}))


def test_a_package_is_fetched_once(tmp_path: Path, npm, package: Package) -> None:
    npm(f'echo "$@" >> {tmp_path}/calls; cp {tmp_path}/fake-1.0.tgz .')
    file = fetch(package, tmp_path / "cache")
    assert file == tmp_path / "cache" / "packages" / "fake-1.0.tgz"
    assert digest_of(file) == package.sha256
    assert fetch(package, tmp_path / "cache") == file
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["pack --ignore-scripts --loglevel=error fake@1.0"]
    assert sorted(path.name for path in file.parent.iterdir()) == ["fake-1.0.tgz", "lock"]


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, npm, package) -> None:
    npm(f"cp {tmp_path}/fake-1.0.tgz .")
    file = fetch(package, tmp_path / "cache")
    file.write_bytes(file.read_bytes()[:-5])
    assert digest_of(fetch(package, tmp_path / "cache")) == package.sha256


def test_another_checksum_is_refused_and_not_kept(tmp_path: Path, npm, package) -> None:
    npm("echo something else > fake-1.0.tgz")
    with pytest.raises(InputError, match=r"checksum \w{12}…, expected is .* not opened"):
        fetch(package, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache" / "packages").iterdir()] == ["lock"]


def test_a_client_that_fails_says_why(tmp_path: Path, npm, package) -> None:
    npm('echo "npm error code E404" >&2; echo "npm error A log is in /x" >&2; exit 1')
    with pytest.raises(InputError, match=r"npm could not fetch fake 1.0 .*: npm error code E404;"):
        fetch(package, tmp_path / "cache")
    npm("exit 3")
    with pytest.raises(InputError, match="it did not say why; .*generated data need none of it"):
        fetch(package, tmp_path / "cache")
    npm("echo > other.tgz")
    with pytest.raises(InputError, match=r"npm fetched other.tgz for fake 1.0 instead of fake-1"):
        fetch(package, tmp_path / "cache")


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch, package) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"the program npm is not installed, and fake 1.0 \(made"):
        fetch(package, tmp_path / "cache")


def test_a_missing_pip_is_named(tmp_path: Path, monkeypatch, package) -> None:
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:3])
    with pytest.raises(InputError, match="the program pip is not installed"):
        fetch(pinned(tmp_path / "fake-1.0.tgz", "pip"), tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, package) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written .*--cache_dir"):
        fetch(package, tmp_path / "file")


def test_pip_fetches_wheels_and_nothing_that_it_would_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = write_wheel(shelf, "wheely", {"wheely/data.csv": b"1,2\n"})
    write_tgz(
        shelf / "sourcy-1.0.tar.gz",
        {
            "sourcy-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: sourcy\nVersion: 1.0\n",
            "sourcy-1.0/setup.py": f"open({str(tmp_path / 'ran')!r}, 'w')".encode(),
        },
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    file = fetch(pinned(wheel, "pip", name="wheely"), tmp_path / "cache")
    assert file.read_bytes() == wheel.read_bytes()
    source = pinned(shelf / "sourcy-1.0.tar.gz", "pip", name="sourcy")
    with pytest.raises(InputError, match="pip could not fetch sourcy 1.0.*: ERROR: "):
        fetch(source, tmp_path / "cache")
    assert not (tmp_path / "ran").exists()


def test_a_killed_fetch_leaves_nothing_half(tmp_path: Path, npm, package) -> None:
    npm(f"head -c 10 /dev/zero > fake-1.0.tgz; touch {tmp_path}/started; sleep 10")
    cache = tmp_path / "cache"
    process = FORK.Process(target=fetch, args=(package, cache))
    process.start()
    _wait_for(tmp_path / "started")
    process.kill()
    process.join()
    assert not (cache / "packages" / "fake-1.0.tgz").exists()
    assert list((cache / "packages").glob(".fetching-*/fake-1.0.tgz"))
    npm(f"ls > {tmp_path}/seen; cp {tmp_path}/fake-1.0.tgz .")
    assert digest_of(fetch(package, cache)) == package.sha256
    assert (tmp_path / "seen").read_text() == "", "the next one starts in an empty folder"
    assert not list((cache / "packages").glob(".fetching-*"))


def test_two_processes_fetch_once(tmp_path: Path, npm, package) -> None:
    npm(f"echo call >> {tmp_path}/calls; sleep 0.5; cp {tmp_path}/fake-1.0.tgz .")
    processes = [FORK.Process(target=fetch, args=(package, tmp_path / "cache")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "calls").read_text() == "call\n"


def test_pins_are_complete() -> None:
    pins = [value for value in vars(packages).values() if isinstance(value, Package)]
    assert len(pins) == 11
    assert len({pin.sha256 for pin in pins}) == 11
    for pin in pins:
        assert len(pin.sha256) == 64
        assert pin.version in pin.file
        assert pin.terms and pin.what
        assert any(pin.version in word and pin.name in word for word in command_for(pin))


def _wait_for(file: Path) -> None:
    end = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < end, f"{file} did not come"
        time.sleep(0.02)
