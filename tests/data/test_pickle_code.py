"""Is code in a pickle refused by the name it has, and not run?"""

from __future__ import annotations

import builtins
import copyreg
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .pickled import opcode_of_text, refusal, written


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(marker: Path) -> dict[str, tuple[Any, str]]:
    shell = f"touch {marker}"
    attribute = Call(getattr, Call(__import__, "os"), "system")
    return {
        "os.system": (Call(os.system, shell), f"holds {os.system.__module__}.system"),
        "eval": (Call(eval, f"open({str(marker)!r}, 'w')"), "holds builtins.eval"),
        "nested getattr": (Call(builtins.map, attribute, [shell]), "holds builtins.map"),
        "numpy.load": (Call(np.load, str(marker), None, True), "holds numpy.load"),
        "copyreg": (
            Call(copyreg._reconstructor, subprocess.Popen, object, None),  # pyright: ignore
            "holds copyreg._reconstructor",
        ),
        "subprocess": (Call(subprocess.Popen, ["touch", str(marker)]), "holds subprocess.Popen"),
        "in an array": (np.array([Call(os.system, shell)], dtype=object), "holds posix.system"),
        "method of an array": (Call(np.ndarray.tofile, np.ones(2), str(marker)), "holds "),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="the attacks are written for a POSIX shell")
@pytest.mark.parametrize("name", list(hostile(Path())))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_by_name_and_not_run(name: str, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    attack, words = hostile(marker)[name]
    message = refusal(written(tmp_path, {"train": [attack]}, protocol))
    assert words in message and "could run code" in message and "nothing of it was run" in message
    assert not marker.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the attack is written for a POSIX shell")
def test_the_attack_would_work_with_pickle_load(tmp_path: Path) -> None:
    """Without this, the test above could pass because its attacks are harmless."""
    path = written(tmp_path, hostile(tmp_path / "marker")["os.system"][0])
    with open(path, "rb") as file:
        pickle.load(file)
    assert (tmp_path / "marker").exists()


def test_dotted_and_disguised_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    for module, name in [
        ("numpy", "ndarray.tofile"),
        ("numpy", "load"),
        ("numpy.core.multiarray.os", "system"),
        ("numpy.dtypes", "sys.DType"),
        ("collections", "namedtuple"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
    ]:
        path.write_bytes(b"\x80\x04" + opcode_of_text(module) + opcode_of_text(name) + b"\x93.")
        assert f"holds {module}.{name}, which could run code" in refusal(path)


def test_objects_in_arrays_are_refused(tmp_path: Path) -> None:
    for content in ([{"a": 1}], [1, 2], ["a", None], ["a", b"a"]):
        message = refusal(written(tmp_path, np.array(content, dtype=object)))
        assert "holds an array of Python objects, which could run code" in message
    record = np.zeros(2, dtype=[("a", "f4"), ("b", "O")])
    assert "holds an array of records" in refusal(written(tmp_path, record))


def test_reading_cannot_be_changed_from_inside(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    state = b"N}" + opcode_of_text("_make") + b"Ns\x86b."  # BUILD: setattr(object, "_make", None)
    path.write_bytes(
        b"\x80\x04" + opcode_of_text("numpy") + opcode_of_text("dtype") + b"\x93" + state
    )
    assert "tries to change how it is read" in refusal(path)
    path.write_bytes(b"\x80\x04\x82\x01.")
    assert "refers to objects outside of it (EXT1)" in refusal(path)
