"""CGGM in the training_step of a LightningModule."""

from typing import Any

import lightning
import torch
from pytorch import Network, classifiers, data
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from cggm import CGGM, Balancer
from cggm.pipelines.methods import Method


class Balanced(lightning.LightningModule):
    """Tells the balancer of epochs, and steps the optimizer itself so that it can act around it."""

    def __init__(self, method: Method | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.classifiers = Network(), classifiers()
        self.balancer = Balancer(
            method or CGGM(),
            self.network,
            loss=cross_entropy,
            scores="probability",
            classifiers=self.classifiers,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self.balancer.optimizer = torch.optim.AdamW(self.balancer.parameter_groups(lr=1e-3))
        return self.balancer.optimizer

    def on_train_start(self) -> None:
        self.balancer.scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # float16
        done = self.trainer.current_epoch
        self.balancer.start(self.trainer.max_epochs, self.trainer.train_dataloader, epoch=done)

    def on_train_epoch_start(self) -> None:
        self.balancer.begin_epoch(self.trainer.current_epoch + 1)

    def on_train_epoch_end(self) -> None:
        self.balancer.end_epoch()

    def on_train_end(self) -> None:
        self.balancer.stop()

    def training_step(self, batch: list[Tensor]) -> None:
        sound, text, label = batch
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        with self.balancer.capture():
            prediction = self.network(sound, text)
        self.manual_backward(self.balancer.loss(prediction, label))
        with self.balancer.modulate():
            optimizer.step()


def main(method: Method | None = None, **settings: Any) -> dict[str, float]:
    module = Balanced(method)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, **settings
    )
    trainer.fit(module, DataLoader(data(), batch_size=8))
    return module.balancer.record["balance"]


if __name__ == "__main__":
    print(main())
