"""CGGM in the Trainer of Hugging Face's transformers."""

import tempfile
from typing import Any

import torch
from pytorch import Network, classifiers, data
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments

from cggm import CGGM, Balancer
from cggm.pipelines.methods import Method


class BalancedTrainer(Trainer):
    """Forms its loss by the balancer; gradients are clipped before they are modulated."""

    def __init__(self, balancer: Balancer, **settings: Any) -> None:
        super().__init__(model=balancer.network, callbacks=[Modulate(balancer)], **settings)
        self.balancer = balancer
        balancer.scaler = self.accelerator.scaler  # of float16, None without

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Any:
        label = inputs.pop("labels")
        if not model.training:
            prediction = model(**inputs)
            loss = self.balancer.task.loss(prediction, label).mean()
            return (loss, {"logits": prediction}) if return_outputs else loss
        with self.accelerator.autocast():  # the trainer has it around the network alone
            with self.balancer.capture():
                prediction = model(**inputs)
            return self.balancer.loss(prediction, label)


class Modulate(TrainerCallback):
    """Tells the balancer of epochs, and puts it around the optimizer's step."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer

    def on_train_begin(self, _: Any, state: TrainerState, *__: Any, **more: Any) -> None:
        done = int(state.epoch or 0)
        self.balancer.start(state.num_train_epochs, more["train_dataloader"], epoch=done)

    def on_epoch_begin(self, _: Any, state: TrainerState, *__: Any, **___: Any) -> None:
        self.balancer.begin_epoch(int(state.epoch or 0) + 1)

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.balancer.end_epoch()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.balancer.stop()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.balancer.start_update()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.balancer.finish_update()


def collate(samples: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    sound, text, label = (torch.stack(column) for column in zip(*samples, strict=True))
    return {"sound": sound, "text": text, "labels": label}


def main(folder: str, method: Method | None = None, **settings: Any) -> dict[str, float]:
    balancer = Balancer(
        method or CGGM(),
        Network(),
        loss=cross_entropy,
        scores="probability",
        classifiers=classifiers(),
    )
    balancer.optimizer = torch.optim.AdamW(balancer.parameter_groups(lr=1e-3))
    arguments = TrainingArguments(
        folder,
        num_train_epochs=2,
        eval_strategy="epoch",
        label_names=["labels"],
        per_device_train_batch_size=8,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
        **settings,
    )
    trainer = BalancedTrainer(
        balancer,
        args=arguments,
        train_dataset=data(),
        eval_dataset=data(),
        data_collator=collate,
        optimizers=(balancer.optimizer, None),
    )
    trainer.train()
    return balancer.record["balance"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(main(name))
