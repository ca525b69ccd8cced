"""Two real processes, joined by gloo, must end with the same parameters."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from cggm.pipelines.balancing import Task, parameter_groups
from cggm.pipelines.handlers import Modulation
from cggm.pipelines.methods import CGGM
from monai.engines import SupervisedTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, sys.argv[1])
from toy import ToyClassifier, ToyNetwork, probability_of_truth

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(rank)  # different data, and different classifiers to begin with
network = ToyNetwork()
classifiers = nn.ModuleDict({name: ToyClassifier() for name in network.encoders})
data = [{"image": torch.randn(3, 3), "label": torch.tensor(i % 2)} for i in range(12)]
task = Task(nn.CrossEntropyLoss(), probability_of_truth)
method = CGGM(lam=0.1, rule="bounded", apply=sys.argv[3])
modulation = Modulation(method, network, task, classifiers)
optimizer = torch.optim.SGD(parameter_groups(network, classifiers, lr=0.1), momentum=0.9)
trainer = SupervisedTrainer(
    device=torch.device("cpu"),
    max_epochs=2,
    train_data_loader=torch.utils.data.DataLoader(data, batch_size=2),
    network=DistributedDataParallel(network),
    optimizer=optimizer,
    loss_function=task.loss,
    train_handlers=[modulation],
    accumulation_steps=2,
    decollate=False,
)
trainer.run()
state = {"network": network.state_dict(), "classifiers": classifiers.state_dict()}
torch.save(state | {"record": modulation.record}, f"{sys.argv[2]}/{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.parametrize("apply", ["gradient", "step"])
def test_two_gloo_ranks_end_with_equal_parameters(tmp_path: Path, apply: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = [str(script), str(Path(__file__).parents[1]), str(tmp_path), apply]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for part in ("network", "classifiers"):
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), name
    assert first["record"]["balance"] == second["record"]["balance"]
    assert first["record"]["score"] == second["record"]["score"]
