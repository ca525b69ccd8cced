"""The Python of the README and of docs/balancing.md, run as a user would run it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.engines import SupervisedTrainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from cggm.data.brats.cases import SEQUENCES
from cggm.models import segmentation_network
from cggm.pipelines.handlers.checkpoint_file import save

ROOT = Path(__file__).parents[1]


def block(page: str, first: str) -> str:
    """The block of Python in a page that begins with an import of some names."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    (chosen,) = [text for text in blocks if text.startswith(first)]
    return chosen


class Network(nn.Module):
    """Two modalities, three classes; inputs are a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"sound": nn.Linear(4, 8), "text": nn.Linear(6, 8)})
        self.head = nn.Linear(16, 3)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        return self.head(torch.cat(features, dim=1).relu())


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features))


def surroundings() -> dict[str, Any]:
    """What a reader has before the first line of a recipe."""
    torch.manual_seed(0)
    data = [
        ({"sound": torch.randn(4), "text": torch.randn(6)}, torch.tensor(i % 3)) for i in range(16)
    ]
    network = Network()
    return {
        "nn": nn,
        "torch": torch,
        "cross_entropy": cross_entropy,
        "SupervisedTrainer": SupervisedTrainer,
        "Classifier": Classifier,
        "device": torch.device("cpu"),
        "network": network,
        "classifiers": nn.ModuleDict({name: Classifier() for name in network.encoders}),
        "loader": DataLoader(data, batch_size=8),
    }


def test_the_loop_in_plain_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    names = surroundings()
    before = names["network"].head.weight.clone()
    exec(block("README.md", "from cggm import CGGM, Balancer"), names)
    assert not torch.equal(before, names["network"].head.weight)
    assert set(names["balancer"].record["balance"]) == {"sound", "text"}
    assert "sound" in capsys.readouterr().out


def test_the_handler_in_monais_trainer() -> None:
    names = surroundings()
    before = names["network"].head.weight.clone()
    exec(block("README.md", "from cggm import CGGM, Modulation"), names)
    assert not torch.equal(before, names["network"].head.weight)
    assert set(names["modulation"].record["balance"]) == {"sound", "text"}
    assert names["trainer"].state.epoch == 10


def test_the_segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"encoder": "tu-test_resnet", "channels": 8, "rates": [1, 2, 3]}
    description = {"sequences": list(SEQUENCES), **settings, "late_fusion": None}
    network = segmentation_network(list(SEQUENCES), late_fusion=None, **settings)
    models = tmp_path / "output" / "brats2021" / "models"
    models.mkdir(parents=True)
    save({"network": network.state_dict(), "description": description}, models / "model.pt")
    (models / "model.json").write_text(json.dumps(description))
    brain = np.random.default_rng(0).uniform(100, 900, (28, 28, 4)).astype(np.float32)
    brain = np.pad(brain, [(2, 2), (2, 2), (1, 1)])  # background
    names = {"flair": brain, "t1ce": brain[::-1].copy(), "affine": np.eye(4)}
    monkeypatch.chdir(tmp_path)
    exec(block("README.md", "from cggm import Segmenter"), names)
    assert names["result"].classes.shape == brain.shape
    assert set(names["result"].volumes) == {"WT", "TC", "ET"}


def test_a_network_on_features() -> None:
    names = {
        "values": torch.randn(2, 5, 768),
        "lengths": torch.tensor([5, 3]),
        "sounds": torch.randn(2, 7, 74),
        "counts": torch.tensor([7, 2]),
    }
    exec(block("docs/balancing.md", "from cggm.models import TransformerNetwork"), names)
    assert names["prediction"].shape == (2, 1)
