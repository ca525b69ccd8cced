"""The folder of the MONAI bundles once installed."""

from pathlib import Path


def path(name: str) -> str:
    """Return the folder of a bundle, e.g. ``path("brats")``."""
    folder = Path(__file__).parent
    known = sorted(p.parent.name for p in folder.glob("*/train.json"))
    if name not in known:
        raise ValueError(f"no bundle is called {name!r}; there are {known}")
    return str(folder / name)
