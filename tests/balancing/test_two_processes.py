"""The plain loop in two processes, beside one process with batches twice as large."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cggm.pipelines.balancing import Balancer

from ..toy import ToyRun, full_cggm

SCRIPT = """
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, sys.argv[1])
from tests.balancing.test_two_processes import toy, train

dist.init_process_group("gloo")
rank = dist.get_rank()
run = toy()
with torch.no_grad():  # the balancer makes the classifiers alike
    for parameter in run.classifiers.parameters():
        parameter.add_(0.1 * rank)
torch.save(train(run, DistributedDataParallel(run.network), rank, 2), f"{sys.argv[2]}/{rank}.pt")
dist.destroy_process_group()
"""


def toy() -> ToyRun:
    method = full_cggm(apply="step", direction="none", lam=0.0)
    return ToyRun(method, samples=16, dtype=torch.float64)


def train(run: ToyRun, network: nn.Module, rank: int, processes: int) -> dict[str, Any]:
    """A plain loop over this process' part of four batches of four samples."""
    assert run.modulation is not None
    method = run.modulation.method
    balancer = Balancer(method, run.network, run.task, run.classifiers, optimizer=run.optimizer)
    records = []
    for start in range(0, 16, 4):
        batch = run.data[start : start + 4][rank::processes]
        run.optimizer.zero_grad()
        with balancer.capture():
            prediction = network(torch.stack([sample["image"] for sample in batch]))
        balancer.loss(prediction, torch.stack([sample["label"] for sample in batch])).backward()
        with balancer.modulate():
            run.optimizer.step()
        records.append({name: balancer.record[name] for name in ("score", "balance")})
    assert run.classifiers is not None
    weights = {**run.network.state_dict(), **run.classifiers.state_dict(prefix="classifiers.")}
    return {"weights": weights, "records": records}


def test_two_processes_are_one_with_larger_batches(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = [str(tmp_path / "train.py"), str(Path(__file__).parents[2]), str(tmp_path)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    run = toy()
    one = train(run, run.network, 0, 1)
    for name, tensor in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], tensor, msg=name)
    assert first["records"] == second["records"]
    for record, expected in zip(first["records"], one["records"], strict=True):
        torch.testing.assert_close(record, expected, rtol=1e-5, atol=1e-6)
    assert len(set(one["records"][0]["balance"].values())) > 1
