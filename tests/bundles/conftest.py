"""Small data for every bundle, and a bundle run on them: in this process or as a command."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from monai.bundle import ConfigWorkflow

from cggm.bundles import path
from cggm.data.features.generated import generate_feature_set
from cggm.data.phantom import generate

from ..processes import commands as run_commands

BUNDLE = Path(path("brats"))
BUNDLES = ("brats", "food101", "iemocap", "mosi")
# A network and a training of about a second.
NETWORK: dict[str, Any] = {"encoder": "tu-test_resnet", "channels": 16}
TRAINING: dict[str, Any] = {
    "method": "cggm",  # more of a training is shown than by the default, joint
    "epochs": 1,
    "val_interval": 1,
    "size": 32,
    "slices_per_case": 2,
    "batch_size": 4,
}
SMALL_TRANSFORMER: dict[str, Any] = {
    "width": 8,
    "heads": 2,
    "layers": 1,
    "fusion_layers": 1,
    "epochs": 1,
    "batch_size": 16,
}


class Bundle:
    """A bundle with data of its own and settings that make it small.

    Args:
        name: of the bundle's folder.
        data: settings that say where the data and the cache are.
        network: settings of every config that make the network small.
        training: settings of train.json alone.
    """

    def __init__(
        self,
        name: str,
        data: dict[str, Any],
        *,
        network: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.folder = Path(path(name))
        self.data = data
        self.network = network or {}
        self.training = training or {}

    def settings(self, config: str, out: Path, **overrides: Any) -> dict[str, Any]:
        """Overrides that make a config small, below those given."""
        small = self.network | (self.training if config.startswith("train") else {})
        return small | self.data | {"output_dir": str(out)} | overrides

    def workflow(self, config: str, out: Path, **overrides: Any) -> ConfigWorkflow:
        """What `monai.bundle run` builds, not started yet."""
        return ConfigWorkflow(
            config_file=str(self.folder / config),
            workflow_type="train" if config.startswith("train") else "infer",
            **self.settings(config, out, **overrides),
        )

    def run(self, config: str, out: Path, **overrides: Any) -> ConfigWorkflow:
        """Run a config to its end in this process."""
        workflow = self.workflow(config, out, **overrides)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        return workflow

    def words(self, config: str, out: Path, **overrides: Any) -> list[str]:
        """What a user writes after `python -m monai.bundle`."""
        words = ["run", "--config_file", str(self.folder / config)]
        for name, value in self.settings(config, out, **overrides).items():
            words += [f"--{name}", str(value)]
        return words


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CGGM_TRACEBACK": "0"}


def command(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python ...` in a folder."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )


def commands(several: Sequence[Sequence[str]], folder: Path) -> list[tuple[int, str, str]]:
    """Run `python -m monai.bundle ...` several times; give exit code, stdout and stderr of each."""
    return run_commands([["monai.bundle", *words] for words in several], folder)


def messages(stderr: str) -> list[str]:
    """Leave out what MONAI says before any of our code runs."""
    before = ("Setting logging properties", "create_workflow(", "UserWarning", "INFO")
    lines = [line for line in stderr.splitlines() if line.strip()]
    return [line for line in lines if not any(text in line for text in before)]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of pytest-xdist share, for what is made once."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (base / "shared").mkdir(exist_ok=True)
    return base / "shared"


@pytest.fixture(scope="session")
def brats(shared: Path) -> Bundle:
    """The bundle on six coarse phantoms."""
    return make_bundle("brats", shared)


@pytest.fixture(scope="session", params=BUNDLES)
def bundle(request: pytest.FixtureRequest, shared: Path) -> Bundle:
    """Every bundle in turn, on small data."""
    return make_bundle(request.param, shared)


@pytest.fixture(scope="session", params=BUNDLES[1:])
def feature_bundle(request: pytest.FixtureRequest, shared: Path) -> Bundle:
    """Every bundle on features in turn, on small data."""
    return make_bundle(request.param, shared)


def make_bundle(name: str, shared: Path) -> Bundle:
    """A bundle on six coarse phantoms, or on a small generated feature set."""
    data = {"cache_dir": str(shared / "cache")}
    with FileLock(shared / "lock"):
        if name == "brats":
            generate(shared / "phantoms", cases=6, spacing=4.0, workers=2)
            data["dataset_dir"] = str(shared / "phantoms")
            return Bundle(name, data, training=NETWORK | TRAINING)
        folder = shared / name
        if not (folder / "dataset.json").exists():
            generate_feature_set(name, folder, samples=160)
        data["dataset_dir"] = str(folder)
    return Bundle(name, data, training=SMALL_TRANSFORMER | {"method": "cggm"})


@pytest.fixture(scope="session")
def trained(brats: Bundle, shared: Path) -> Path:
    """Output folder of two epochs with CGGM; not to be written into."""
    with FileLock(shared / "lock"):
        if not (shared / "trained" / "done").exists():
            brats.run("train.json", shared / "trained", epochs=2)
            (shared / "trained" / "done").touch()
    return shared / "trained"


@pytest.fixture(autouse=True, scope="session")
def _restore_hook() -> Iterator[None]:
    """A run in this process replaces the hook for uncaught exceptions."""
    hook = sys.excepthook
    yield
    sys.excepthook = hook
