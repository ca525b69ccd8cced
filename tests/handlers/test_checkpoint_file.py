"""Files of weights: written whole, read without running code."""

import os
import pickle
import resource
import signal
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cggm.data.errors import InputError
from cggm.data.files import remove_leftovers
from cggm.pipelines.handlers.checkpoint_file import load_network, read, save

from ..children import in_a_child, is_alive


def test_ddp_wrapping_leaves_no_trace_in_the_names(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    save(state, tmp_path / "model.pt")
    loaded = load_network(tmp_path / "model.pt", nn.Linear(2, 1))
    assert torch.equal(loaded.weight, network.weight)  # type: ignore[arg-type]


def test_refuses_weights_of_another_network(tmp_path: Path) -> None:
    save({"other": torch.ones(1)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"bias \(not in the file\), other \(not in the network\)"):
        load_network(tmp_path / "model.pt", nn.Linear(2, 1))


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch attacked",))


def write_foreign(path: Path, kind: str) -> None:
    save({"a": torch.ones(1000)}, path)
    whole = path.read_bytes()
    torch.save(nn.Linear(1, 1), path) if kind == "module" else None
    contents = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "page": b"<!DOCTYPE html><html>Sign in</html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "pickle": pickle.dumps(Attack()),
        "text": b"not weights",
    }
    if kind in contents:
        path.write_bytes(contents[kind])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", r"model.pt is damaged or cut short \(\d+ bytes\)"),
        ("empty", "the file is empty"),
        ("page", "it is a web page"),
        ("lfs", "pointer of Git LFS; fetch the file itself"),
        ("pickle", "refused: it holds Python objects besides tensors"),
        ("module", "refused: it holds Python objects besides tensors"),
        ("text", "it is not a file that torch.save wrote"),
    ],
)
def test_refuses_a_foreign_file(
    tmp_path: Path, kind: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_foreign(tmp_path / "model.pt", kind)
    with pytest.raises(InputError, match=message):
        load_network(tmp_path / "model.pt", nn.Linear(1, 1))
    assert not (tmp_path / "attacked").exists()


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "model.pt")
    with pytest.raises(InputError, match="it is a folder"):
        read(tmp_path)


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    def save_for_ever() -> None:
        for number in count(1):
            weights = torch.full((300_000,), float(number))
            save({"network": weights, "number": number}, tmp_path / "last.pt")

    def saved() -> int:
        return file.stat().st_mtime_ns if file.exists() else 0

    rng, file = np.random.default_rng(0), tmp_path / "last.pt"
    for _ in range(10):
        before = saved()
        child = in_a_child(save_for_ever)
        while saved() == before:  # it is at the second file now, or further
            assert is_alive(child)
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.2)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        content = read(file)
        assert bool((content["network"] == content["number"]).all())
    remove_leftovers(tmp_path / "last.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the end of the disk."""
    path = tmp_path / "last.pt"
    save({"a": torch.zeros(10)}, path)

    def save_too_much() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            save({"a": torch.zeros(1_000_000)}, path)
        except InputError as error:
            (tmp_path / "message").write_text(str(error))

    os.waitpid(in_a_child(save_too_much), 0)
    assert (tmp_path / "message").read_text() == (
        f"{path} cannot be written (File too large); the previous file is kept: choose another "
        "output folder, or make room and give yourself the right to write there"
    )
    assert torch.equal(read(path)["a"], torch.zeros(10))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "message"]
