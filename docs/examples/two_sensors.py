"""A regression from two sensors, with encoders and a fusion of one's own, by any method."""

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torch.utils.data import DataLoader, TensorDataset

from cggm import CGGM, Balancer


class Network(nn.Module):
    """Three seconds of motion and five readings of the air, joined by a gate, to one number."""

    def __init__(self) -> None:
        super().__init__()
        self.motion = nn.Sequential(
            nn.Conv1d(3, 16, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()
        )
        self.air = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 16))
        self.gate = nn.Linear(32, 16)
        self.output = nn.Linear(16, 1)

    def forward(self, motion: Tensor, air: Tensor) -> Tensor:
        first, second = self.motion(motion), self.air(air)
        gate = self.gate(torch.cat([first, second], dim=1)).sigmoid()
        return self.output(gate * first + (1 - gate) * second)


class Regressor(nn.Module):
    """The number from one sensor's features; its head is as large as the network's output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features))


def data(samples: int, seed: int) -> TensorDataset:
    """Motion (N, 3, 60), air (N, 5) and what both tell together (N, 1)."""
    draws = torch.Generator().manual_seed(seed)
    motion = torch.randn(samples, 3, 60, generator=draws)
    air = torch.randn(samples, 5, generator=draws)
    label = motion.square().mean((1, 2)).unsqueeze(1) * 4 + air[:, :1]
    return TensorDataset(motion, air, label)


def main(epochs: int = 15) -> dict[str, float]:
    torch.manual_seed(0)
    network = Network()
    balancer = Balancer(
        CGGM(lam=0.0),  # without the direction term, for a regression
        network,
        loss=l1_loss,
        scores="mae",
        classifiers={"motion": Regressor(), "air": Regressor()},
        encoders={"motion": network.motion, "air": network.air},
        head=network.output,
    )
    optimizer = balancer.optimizer = torch.optim.AdamW(balancer.parameter_groups(lr=3e-3))
    loader = DataLoader(data(512, seed=0), batch_size=32, shuffle=True)
    for _ in balancer.epochs(epochs, loader):
        network.train()
        for motion, air, label in loader:
            optimizer.zero_grad()
            with balancer.capture():
                prediction = network(motion, air)
            balancer.loss(prediction, label).backward()
            with balancer.modulate():
                optimizer.step()
    network.eval()
    with torch.no_grad():
        motion, air, label = data(256, seed=1).tensors
        error = l1_loss(network(motion, air), label).item()
    return {"test error": error, **balancer.record["balance"]}


if __name__ == "__main__":
    print(main())
