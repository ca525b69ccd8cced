"""The packages listed, and the directions of imports."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bundles", "data", "models", "pipelines")
# The rooms, floor by floor from the ground: a module may import what lies on lower floors.
FLOORS = (
    ("balancing", "data", "models"),
    ("handlers", "methods"),
    ("evaluation", "segmentation"),
    ("commands", "extraction"),
    ("research",),
)
HEIGHT = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# The console command opens every room, when it is asked to.
DOOR = "pipelines/commands/app.py"
# Which room each bundle's settings come from is for experiments to know.
MAY_NAME_BUNDLES = {"research", "commands"}


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
    found = found - {"cggm.pipelines.api"} | {"cggm"}
    listed = setuptools_settings()["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == found


def test_each_folder_is_a_package_of_its_own() -> None:
    mapping = setuptools_settings()["package-dir"]
    root = {"cggm": "pipelines/api"}
    assert mapping == root | {f"cggm.{folder}": folder for folder in FOLDERS}
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


def room_of(parts: tuple[str, ...]) -> str:
    """Room of a module, from its path below the root: its folder, in `pipelines` the one below."""
    return parts[1] if parts[0] == "pipelines" and len(parts) > 2 else parts[0]


def allowed(importer: Path, name: str) -> bool:
    """Whether a module may import a name: of its own room, of a lower floor, or of another's."""
    top, *rest = name.split(".")
    if top != "cggm":
        return top not in FOLDERS
    path = importer.relative_to(ROOT)
    here, there = room_of(path.parts), room_of((*rest, ""))
    if there == here or here in ("api", "bundles") or str(path) == DOOR:
        return True
    if there == "bundles":
        return here in MAY_NAME_BUNDLES
    return there in HEIGHT and here in HEIGHT and HEIGHT[there] < HEIGHT[here]


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_downwards_only(folder: str) -> None:
    assert modules(folder)
    wrong = [
        f"{module.relative_to(ROOT)} imports {name}"
        for module in modules(folder)
        for name in sorted(imported(module))
        if not allowed(module, name)
    ]
    assert wrong == []


def test_the_idea_needs_torch_alone() -> None:
    """`balancing` and `methods` run without MONAI, ignite, and what else a bundle needs."""
    for room in ("balancing", "methods"):
        for module in modules(f"pipelines/{room}"):
            for name in imported(module):
                top = name.split(".")[0]
                plain = top in sys.stdlib_module_names or top in ("cggm", "torch", "numpy")
                assert plain, f"{module.relative_to(ROOT)} imports {name}"


def test_no_method_imports_another() -> None:
    folder = ROOT / "pipelines" / "methods"
    for module in modules("pipelines/methods"):
        if module.name == "__init__.py":
            continue
        for name in imported(module):
            other = folder / f"{name.removeprefix('cggm.pipelines.methods.').split('.')[0]}.py"
            if name.startswith("cggm.pipelines.methods.") and other != module:
                shared = ("balance.py", "discrepancy.py")  # of no method alone
                assert other.name in shared, f"{module.relative_to(ROOT)} imports {name}"


def test_the_reader_of_imports_sees_them() -> None:
    """That the test above could fail: what it reads of two real modules."""
    assert "cggm.data.errors.InputError" in imported(ROOT / "pipelines" / "commands" / "start.py")
    assert "cggm.data.errors.InputError" in imported(ROOT / "data" / "phantom" / "generate.py")
