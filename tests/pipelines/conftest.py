"""A small network with one encoder per modality, and real MONAI trainers for it."""

from collections.abc import Callable, Sequence

import pytest
import torch
from monai.engines import SupervisedTrainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.pipelines import Modulation, Task, parameter_groups
from cggm.pipelines.methods import Method

MODALITIES = ("audio", "text", "video")


class ToyNetwork(nn.Module):
    """Late fusion of one linear encoder per modality; input (B, M, 3), output (B, 2)."""

    def __init__(self, modalities: Sequence[str] = MODALITIES) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(3, 5), nn.Tanh()) for name in modalities}
        )
        self.fusion = nn.Sequential(nn.Linear(5 * len(modalities), 4), nn.Tanh())
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        features = [encoder(inputs[:, i]) for i, encoder in enumerate(self.encoders.values())]
        return self.head(self.fusion(torch.cat(features, dim=1)))


class ToyClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 4), nn.Tanh())
        self.head = nn.Linear(4, 2)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features))


def probability_of_truth(prediction: Tensor, label: Tensor) -> Tensor:
    return prediction.softmax(1).gather(1, label[:, None])[:, 0]


class ToyRun:
    """A network, its classifiers, a method and the stock trainer that joins them.

    The data do not depend on the method, and neither does the network's initial state.
    """

    def __init__(
        self,
        method: Method | None,
        *,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
        lr: float = 0.1,
        batch_size: int = 8,
        accumulation_steps: int = 1,
        epochs: int = 1,
        samples: int = 8,
        handlers: Sequence[object] = (),
        modalities: Sequence[str] = MODALITIES,
        compile: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        torch.manual_seed(0)
        self.network = ToyNetwork(modalities).to(dtype)
        self.classifiers = nn.ModuleDict({name: ToyClassifier() for name in modalities}).to(dtype)
        self.task = Task(nn.CrossEntropyLoss(), probability_of_truth)
        self.data = [
            {"image": torch.randn(len(modalities), 3, dtype=dtype), "label": torch.tensor(i % 2)}
            for i in range(samples)
        ]
        groups = parameter_groups(self.network, self.classifiers, lr=lr, classifier_lr=lr / 2)
        self.optimizer = optimizer(groups, lr=lr)
        self.modulation = None
        if method is not None:
            self.modulation = Modulation(method, self.network, self.task, self.classifiers)
        self.gradients: list[dict[str, Tensor]] = []
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=epochs,
            train_data_loader=DataLoader(self.data, batch_size=batch_size),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=self.task.loss,
            train_handlers=[h for h in (self.modulation, *handlers) if h is not None],
            accumulation_steps=accumulation_steps,
            compile=compile,
            compile_kwargs={"backend": "eager"} if compile else None,
            decollate=False,
        )

    def run(self) -> "ToyRun":
        self.trainer.run()
        return self

    def part(self, name: str) -> str:
        """Which part of the network a parameter belongs to: a modality or "fusion"."""
        pieces = name.split(".")
        return pieces[1] if pieces[0] == "encoders" else "fusion"

    def first_step_gradients(self) -> dict[str, Tensor]:
        """Gradients as they are when the optimizer steps for the first time."""
        seen: dict[str, Tensor] = {}
        step = self.optimizer.step

        def spy(*args, **kwargs):
            if not seen:
                seen.update(named_gradients(self.network))
                seen.update(
                    {f"classifiers.{k}": v for k, v in named_gradients(self.classifiers).items()}
                )
            return step(*args, **kwargs)

        self.optimizer.step = spy
        self.run()
        return seen


def named_gradients(module: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


@pytest.fixture
def toy_run() -> type[ToyRun]:
    return ToyRun
