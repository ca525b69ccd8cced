"""Training, evaluation and inference without the packages of any extra."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .conftest import Bundle, environment, make_bundle

ROOT = Path(__file__).parents[2]
IN_BASE = {"pillow"}  # matplotlib and torchvision depend on it
# Each configuration in turn, where no package of an extra can be imported.
RUN = '''
import json, sys
names, runs = json.loads(sys.argv[1])

class Without:
    """A finder of modules that does not see some packages."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
from monai.bundle import ConfigWorkflow

import cggm.pipelines.commands.check, cggm.pipelines.commands.convert

for kind, file, settings in runs:
    workflow = ConfigWorkflow(config_file=file, workflow_type=kind, **settings)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
'''


def packages_of_extras() -> set[str]:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    lines = [line for extra, lines in extras.items() if extra != "dev" for line in lines]
    return {re.split(r"[<>=]", line)[0] for line in lines} - IN_BASE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brats", "mosi"])
def test_a_bundle_needs_no_extra(name: str, shared: Path, tmp_path: Path) -> None:
    bundle: Bundle = make_bundle(name, shared)
    out = tmp_path / "out"
    runs = [
        (kind, str(bundle.folder / config), bundle.settings(config, out))
        for kind, config in (
            ("train", "train.json"),
            ("infer", "evaluate.json"),
            ("infer", "inference.json"),
        )
    ]
    absent = sorted(packages_of_extras())
    assert {"h5py", "mlflow", "pandas", "ray", "transformers"} <= set(absent)
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, json.dumps([absent, runs])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert (out / "models" / "model.pt").is_file()
