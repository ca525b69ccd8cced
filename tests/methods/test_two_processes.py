"""Equal parameters in two processes, for every method."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cggm.pipelines.methods import CATALOGUE

from ..toy import MODALITIES, ToyRun
from .ready import ready

SCRIPT = """
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

sys.path.insert(0, sys.argv[1])
from tests.methods.ready import ready
from tests.toy import MODALITIES, ToyRun

dist.init_process_group("gloo")
rank = dist.get_rank()
settings = {"epochs": 3, "samples": 24, "batch_size": 2, "accumulation_steps": 2}
for name in sys.argv[3:]:
    method = ready(name, Path(sys.argv[2]), MODALITIES)
    run = ToyRun(method, dtype=torch.float64, **settings)
    sampler = DistributedSampler(run.data, shuffle=False)
    run.trainer.data_loader = DataLoader(run.data, batch_size=2, sampler=sampler)
    run.trainer.state.epoch_length = 6
    run.trainer.network = DistributedDataParallel(run.network)
    try:
        run.run()
    except Exception as error:
        raise RuntimeError(f"{name} failed with two processes") from error
    state = {"network": run.network.state_dict(), "method": method.state_dict()}
    state["classifiers"] = {} if run.classifiers is None else run.classifiers.state_dict()
    torch.save(state, f"{sys.argv[2]}/{name}-{rank}.pt")
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ends of all methods, by one start of two processes, and the teachers they had."""
    folder = tmp_path_factory.mktemp("two")
    for name in CATALOGUE:
        ready(name, folder, MODALITIES)
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = [str(folder / "train.py"), str(Path(__file__).parents[2]), str(folder)]
    done = subprocess.run(
        [*command, *arguments, *CATALOGUE], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", CATALOGUE)
def test_two_processes_end_with_equal_parameters(name: str, folder: Path) -> None:
    first, second = (torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    for part in ("network", "classifiers"):
        for key, tensor in first[part].items():
            assert torch.equal(tensor, second[part][key]), key
            assert tensor.isfinite().all(), key
    assert str(first["method"]) == str(second["method"])


@pytest.mark.parametrize("name", ["joint", "dgl", "mmpareto", "mslr", "pmr", "ume"])
def test_two_processes_are_one_with_larger_batches(name: str, folder: Path) -> None:
    """Two with two samples each and one with four see the same data in each step.

    Not so where a loss is no mean over samples, such as a cosine of gradients.
    """
    run = ToyRun(
        ready(name, folder, MODALITIES),
        epochs=3,
        samples=24,
        batch_size=4,
        accumulation_steps=2,
        dtype=torch.float64,
    ).run()
    ends = torch.load(folder / f"{name}-0.pt", weights_only=True)["network"]
    for key, tensor in run.network.state_dict().items():
        torch.testing.assert_close(tensor, ends[key], msg=key)
