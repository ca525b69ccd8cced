"""The pages and modules that the site is made of, gathered for mkdocs (see mkdocs.yml).

Pages stay where a reader of the repository looks for them, some in `docs/`, some beside what they
tell of; mkdocs wants one folder. So it gets one of links, in which links between pages hold as they
are written.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
FILES = ("LICENSE", "NOTICE", "CITATION.cff", "pipelines/research/study/questions.json")
# As pyproject.toml maps them.
PACKAGE = {
    "__init__.py": "pipelines/api/__init__.py",
    "bundles": "bundles",
    "data": "data",
    "models": "models",
    "pipelines": "pipelines",
}
_ROLE = re.compile(r":(?:class|meth|func|mod|data|attr):<code>[~.]*")
GATHERED = ROOT / "build" / "site"


def on_startup(**_: Any) -> None:
    """Gather pages and modules, before plugins look for them."""
    shutil.rmtree(GATHERED, ignore_errors=True)
    bundles = [f"bundles/{page.parent.name}/README.md" for page in ROOT.glob("bundles/*/README.md")]
    for name in ("docs", *PAGES, *FILES, *bundles):
        _link(GATHERED / "pages" / name, ROOT / name)
    for name, place in PACKAGE.items():
        _link(GATHERED / "modules" / "cggm" / name, ROOT / place)


def on_config(config: Any) -> Any:
    """Point mkdocs at the gathered pages; mkdocs.yml points mkdocstrings at the modules."""
    config.docs_dir = str(GATHERED / "pages")
    return config


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles off names in docstrings, which editors know and mkdocs does not."""
    return _ROLE.sub("<code>", html)


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
