"""The site, and the commands that pages tell a reader to type."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cggm.pipelines.commands.app import SUB_COMMANDS, _load

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("bundles/*/README.md")),
]
BUNDLE = {"train": "train", "evaluate": "evaluate", "infer": "inference"}
# What `monai.bundle run` itself takes, beside settings of the configuration.
OF_MONAI = {"config_file", "meta_file", "logging_file", "tracking"}


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command in the blocks of shell."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def options(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]


def command_of(words: list[str]) -> Any:
    """The command behind `cggm` that words lead to, perhaps one of a group's."""
    command: Any = get_command(_load(SUB_COMMANDS[words[0]]))
    return command.commands[words[1]] if hasattr(command, "commands") else command


def unknown_settings(words: list[str], files: list[Path]) -> list[str]:
    """Settings `--name value` that no configuration of a bundle has."""
    known = OF_MONAI.union(*(json.loads(file.read_text()) for file in files))
    named = [re.split("#|::", option.lstrip("-"))[0] for option in options(words)]
    return [name for name in named if name not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_exist(page: Path) -> None:
    """Each with options it has; example paths and names are not opened."""
    for words in commands(page):
        if words[0] == "cggm" and words[1] in BUNDLE:
            config = ROOT / "bundles" / words[2] / f"{BUNDLE[words[1]]}.json"
            assert unknown_settings(words[3:], [config]) == [], words
        elif words[0] == "cggm":
            command = command_of(words[1:])
            known = {name for option in command.params for name in option.opts}
            assert set(options(words)) <= known, (words, sorted(known))
        elif "monai.bundle" in words and "run" in words:
            given = words[words.index("--config_file") + 1]
            files = [ROOT / name for name in re.findall(r"[\w/]+\.json", given)]
            assert unknown_settings(words[words.index("run") :], files) == [], words
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
        elif script := [word for word in words if word.startswith(("benchmarks/", "docs/"))]:
            assert (ROOT / script[0]).is_file() or script[0].endswith(".png"), words


def test_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = sorted(tmp_path.rglob("*.html"))
    assert {"index.html", "docs/clinic.html", "docs/reference/balancing.html"} <= {
        str(page.relative_to(tmp_path)) for page in pages
    }
    for page in pages:
        text = page.read_text()
        assert not re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="?(?:https?:)?//', text), page
        assert not re.findall(r'<link[^>]*rel="?stylesheet[^>]*href="?(?:https?:)?//', text), page
    reference = (tmp_path / "docs" / "reference" / "balancing.html").read_text()
    assert "what to run; <code>Joint()</code> changes nothing" in reference
    assert not re.search(r":(class|meth|func|mod):<code>", reference)
