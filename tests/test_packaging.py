"""Is every package listed, and do imports point one way only?"""

import ast
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")

ROOT = Path(__file__).parents[1]
FOLDERS = ("bundles", "data", "models", "pipelines")
# What the modules of a folder may import of the others.
MAY_IMPORT = {
    "data": set(),
    "models": set(),
    "pipelines": {"data", "models"},
    "bundles": {"data", "models", "pipelines"},
}


def setuptools_settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of all that a module imports, wherever in it: `cggm.data.errors.InputError`."""
    package = ["cggm", *path.relative_to(ROOT).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def test_packages_are_those_of_the_folders() -> None:
    """An unlisted package works in an editable install and is missing from the wheel."""
    found = {
        ".".join(["cggm", *init.parent.relative_to(ROOT).parts])
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    listed = setuptools_settings()["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == found


def test_each_folder_is_a_package_of_its_own() -> None:
    mapping = setuptools_settings()["package-dir"]
    assert mapping == {f"cggm.{folder}": folder for folder in FOLDERS}
    for folder in FOLDERS:
        for module in modules(folder):
            assert (module.parent / "__init__.py").is_file(), f"{module} is in no package"


def test_files_of_the_bundles_go_into_the_wheel() -> None:
    patterns = setuptools_settings()["package-data"]["cggm.bundles"]
    packed = {path for pattern in patterns for path in (ROOT / "bundles").glob(pattern)}
    others = {
        path
        for path in (ROOT / "bundles").rglob("*")
        # setuptools takes py.typed along without being told.
        if path.is_file() and path.suffix not in (".py", ".pyc", ".typed")
    }
    assert others and others == packed & others


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    assert modules(folder)
    for module in modules(folder):
        for name in imported(module):
            top, _, rest = name.partition(".")
            if top == "cggm":
                target = rest.partition(".")[0]
                allowed = target == folder or target in MAY_IMPORT[folder]
                assert allowed, f"{module.relative_to(ROOT)} imports {name}"
            assert top not in FOLDERS, f"{module.relative_to(ROOT)} imports {name} by its bare name"


def test_the_reader_of_imports_sees_them() -> None:
    """That the test above could fail: what it reads of two real modules."""
    assert "cggm.data.errors.InputError" in imported(
        ROOT / "pipelines" / "command_line" / "start.py"
    )
    assert "cggm.data.errors.InputError" in imported(ROOT / "data" / "phantom" / "generate.py")
