"""CGGM in the training_step of a LightningModule."""

from typing import Any

import lightning
import torch
from pytorch import Network, classifiers, data
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from cggm import CGGM, Balancer


class Balanced(lightning.LightningModule):
    """Steps the optimizer by itself, so that the balancer can act around the step."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.classifiers = Network(), classifiers()
        self.balancer = Balancer(
            CGGM(),
            self.network,
            loss=cross_entropy,
            scores="probability",
            classifiers=self.classifiers,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self.balancer.optimizer = torch.optim.AdamW(self.balancer.parameter_groups(lr=1e-3))
        return self.balancer.optimizer

    def training_step(self, batch: list[Tensor]) -> None:
        sound, text, label = batch
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        with self.balancer.capture():
            prediction = self.network(sound, text)
        self.manual_backward(self.balancer.loss(prediction, label))
        with self.balancer.modulate():
            optimizer.step()


def main() -> dict[str, float]:
    module = Balanced()
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(module, DataLoader(data(), batch_size=8))
    return module.balancer.record["balance"]


if __name__ == "__main__":
    print(main())
