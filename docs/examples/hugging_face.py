"""CGGM in the Trainer of Hugging Face's transformers."""

import tempfile
from typing import Any

import torch
from pytorch import Network, classifiers, data
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainingArguments

from cggm import CGGM, Balancer


class BalancedTrainer(Trainer):
    """Forms its loss by the balancer; gradients are clipped before they are modulated."""

    def __init__(self, balancer: Balancer, **settings: Any) -> None:
        super().__init__(model=balancer.network, callbacks=[Modulate(balancer)], **settings)
        self.balancer = balancer

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Any:
        label = inputs.pop("labels")
        with self.balancer.capture():
            prediction = model(**inputs)
        return self.balancer.loss(prediction, label)


class Modulate(TrainerCallback):
    """Puts the balancer around the optimizer's step."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.balancer.start_update()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.balancer.finish_update()


def collate(samples: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    sound, text, label = (torch.stack(column) for column in zip(*samples, strict=True))
    return {"sound": sound, "text": text, "labels": label}


def main(folder: str, accumulation: int = 1) -> dict[str, float]:
    balancer = Balancer(
        CGGM(), Network(), loss=cross_entropy, scores="probability", classifiers=classifiers()
    )
    balancer.optimizer = torch.optim.AdamW(balancer.parameter_groups(lr=1e-3))
    arguments = TrainingArguments(
        folder,
        num_train_epochs=1,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=accumulation,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    trainer = BalancedTrainer(
        balancer,
        args=arguments,
        train_dataset=data(),
        data_collator=collate,
        optimizers=(balancer.optimizer, None),
    )
    trainer.train()
    return balancer.record["balance"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(main(name))
