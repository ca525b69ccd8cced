"""Unpacking: only the files that are needed, and only into their folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from cggm.data.errors import InputError
from cggm.pipelines.research.stand_ins import unpack as unpacking
from cggm.pipelines.research.stand_ins.unpack import unpack

from .fake_packages import tar_of, write_deb, write_tgz, write_zip

FILES = {"top/a.txt": b"a" * 1000, "top/in/b.csv": b"b", "top/c.exe": b"c", "else/d.txt": b"d"}
WRITERS = {"x.whl": write_zip, "x.tgz": write_tgz, "x.deb": write_deb}


def listed(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", WRITERS)
def test_wanted_files_come_out(tmp_path: Path, name: str) -> None:
    archive = WRITERS[name](tmp_path / name, FILES)
    folder = unpack(archive, tmp_path / "new" / "out", ("*.txt", "*.csv"), below="top/")
    assert listed(folder) == {"a.txt": b"a" * 1000, "in/b.csv": b"b"}
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_cut_short_leaves_nothing(tmp_path: Path, name: str) -> None:
    archive = WRITERS[name](tmp_path / name, FILES)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match="cannot be unpacked|holds no"):
        unpack(archive, tmp_path / "out", ("*",))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["/abs.txt", "../up.txt", "in/../../up.txt", "c:\\x.txt"])
@pytest.mark.parametrize("kind", ["x.whl", "x.tgz"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    archive = WRITERS[kind](tmp_path / kind, {"fine.txt": b"f", name: b"evil"})
    with pytest.raises(InputError, match="leads out of the folder"):
        unpack(archive, tmp_path / "deep" / "out", ("fine.txt",))
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([kind, "deep"])


@pytest.mark.parametrize(
    ("kind", "word"),
    [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.CHRTYPE, "device")],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.txt")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    (tmp_path / "x.tgz").write_bytes(content.getvalue())
    with pytest.raises(InputError, match=f"a.txt is a {word}; it is not unpacked"):
        unpack(tmp_path / "x.tgz", tmp_path / "out", ("*.txt",))
    assert not (tmp_path / "out").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        info = zipfile.ZipInfo("a.txt")
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match=r"a.txt is a link"):
        unpack(tmp_path / "x.whl", tmp_path / "out", ("*",))


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 10**6)
    bomb = write_tgz(tmp_path / "x.tgz", {"a.txt": b"", "zeros": bytes(10**7)})
    assert bomb.stat().st_size < 20_000
    with pytest.raises(InputError, match="holds more than"):
        unpack(bomb, tmp_path / "out", ("*",))
    monkeypatch.setattr(unpacking, "MOST_FILES", 3)
    many = write_zip(tmp_path / "x.whl", FILES)
    with pytest.raises(InputError, match="holds more than 3 files"):
        unpack(many, tmp_path / "out", ("*",))
    assert not (tmp_path / "out").exists()


def test_a_size_that_is_a_lie_is_refused(tmp_path: Path) -> None:
    """A zip whose entry says 1000 bytes and holds 100 000 must not fill the disk."""
    archive = write_zip(tmp_path / "x.whl", {"a.txt": b"x" * 100_000})
    content = archive.read_bytes()
    archive.write_bytes(
        content.replace((100_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    )
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out", ("*",))
    assert not (tmp_path / "out").exists()


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for data in (b"first", b"other"):
            info = tarfile.TarInfo("a.txt")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "x.tgz").write_bytes(content.getvalue())
    with pytest.raises(InputError, match=r"holds .*a.txt twice"):
        unpack(tmp_path / "x.tgz", tmp_path / "out", ("*",))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"not an archive at all")
    with pytest.raises(InputError, match="is not a Debian package"):
        unpack(tmp_path / "x.deb", tmp_path / "out", ("*",))
    write_deb(tmp_path / "y.deb", FILES, data="data.tar.zst")
    with pytest.raises(InputError, match=r"holds no data.tar that can be read"):
        unpack(tmp_path / "y.deb", tmp_path / "out", ("*",))
    (tmp_path / "z.tgz").write_bytes(tar_of(FILES))
    with pytest.raises(InputError, match=r"holds no file like \*.png"):
        unpack(tmp_path / "z.tgz", tmp_path / "out", ("*.png",))


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    archive = write_tgz(tmp_path / "x.tgz", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert listed(unpack(archive, tmp_path / "out", ("*",))) == {"mine.txt": b"mine"}
