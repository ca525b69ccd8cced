"""`cggm info`: what is installed, and where things are."""

from __future__ import annotations

import platform
import re
import sys
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, requires, version

from ...data.cache import default_cache
from .bundle import BUNDLES, FOLDER

_EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")
_NAME = re.compile(r"[\w.-]+")


def main() -> None:
    """Print versions, extras, bundles and folders in use, for a question or a report."""
    print(f"cggm     {version('cggm')}")
    print(f"Python   {platform.python_version()} ({sys.executable})")
    print(f"system   {platform.platform()}")
    print(f"torch    {_version('torch') or 'not installed'}")
    print(f"MONAI    {_version('monai') or 'not installed'}")
    print(f"bundles  {', '.join(BUNDLES)} in {FOLDER}")
    print(f"cache    {default_cache()}")
    print("extras")
    for extra, missing in missing_packages().items():
        state = "installed"
        if missing:
            state = f'not installed ({", ".join(missing)}): pip install "cggm[{extra}]"'
        print(f"  {extra:<11}{state}")


def missing_packages() -> dict[str, list[str]]:
    """What each extra of the package asks for and is not installed."""
    missing: dict[str, list[str]] = defaultdict(list)
    for requirement in requires("cggm") or []:
        extra, package = _EXTRA.search(requirement), _NAME.match(requirement)
        if extra is None or package is None:
            continue
        absent = missing[extra[1]]
        if _version(package[0]) is None:
            absent.append(package[0])
    return dict(missing)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
