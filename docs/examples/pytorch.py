"""CGGM in a plain PyTorch loop."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from cggm import CGGM, Balancer


class Network(nn.Module):
    """Two modalities of four and six numbers, three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"sound": nn.Linear(4, 8), "text": nn.Linear(6, 8)})
        self.head = nn.Linear(16, 3)

    def forward(self, sound: Tensor, text: Tensor) -> Tensor:
        features = [self.encoders["sound"](sound), self.encoders["text"](text)]
        return self.head(torch.cat(features, dim=1).relu())


class Classifier(nn.Module):
    """A prediction from the features of one modality."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features).relu())


def classifiers() -> nn.ModuleDict:
    """One per modality; their last layers are as large as the network's."""
    return nn.ModuleDict({"sound": Classifier(), "text": Classifier()})


def data() -> TensorDataset:
    torch.manual_seed(0)
    return TensorDataset(torch.randn(32, 4), torch.randn(32, 6), torch.randint(3, (32,)))


def main() -> dict[str, float]:
    network = Network()
    balancer = Balancer(
        CGGM(), network, loss=cross_entropy, scores="probability", classifiers=classifiers()
    )
    optimizer = balancer.optimizer = torch.optim.AdamW(balancer.parameter_groups(lr=1e-3))
    for sound, text, label in DataLoader(data(), batch_size=8):
        optimizer.zero_grad()
        with balancer.capture():
            prediction = network(sound, text)
        balancer.loss(prediction, label).backward()
        with balancer.modulate():
            optimizer.step()
    return balancer.record["balance"]


if __name__ == "__main__":
    print(main())
