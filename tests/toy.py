"""A small network with one encoder per modality, and real MONAI trainers for it."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cggm.models import LateFusion, MultimodalNetwork
from cggm.pipelines.balancing import ClassificationTask, RegressionTask, parameter_groups
from cggm.pipelines.balancing.scores import negative_error
from cggm.pipelines.handlers import Modulation
from cggm.pipelines.methods import CGGM, Method

MODALITIES = ("audio", "text", "video")


class ToyNetwork(MultimodalNetwork):
    """One linear encoder per modality, fused; input (B, M, 3), output (B, outputs)."""

    def __init__(self, modalities: Sequence[str] = MODALITIES, outputs: int = 2) -> None:
        super().__init__({name: nn.Sequential(nn.Linear(3, 5), nn.Tanh()) for name in modalities})
        self.fusion = nn.Sequential(nn.Linear(5 * len(modalities), 4), nn.Tanh())
        self.head = nn.Linear(4, outputs)

    def encode(self, inputs: Tensor) -> dict[str, Tensor]:
        return {name: e(inputs[:, i]) for i, (name, e) in enumerate(self.encoders.items())}

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        """A modality that is not there counts as zeros."""
        nothing = torch.zeros_like(next(iter(features.values())))
        parts = [features.get(name, nothing) for name in self.modalities]
        return self.head(self.fusion(torch.cat(parts, dim=1)))


class ToyLateFusion(LateFusion):
    """A toy network per modality, combined by their predictions; input (B, M, 3)."""

    def forward(self, inputs: Tensor) -> Tensor:
        predictions = [m(inputs[:, i : i + 1]) for i, m in enumerate(self.members.values())]
        here = torch.ones(len(inputs), dtype=torch.bool)
        return self.combine(predictions, [here] * len(predictions))


class ToyClassifier(nn.Module):
    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 4), nn.Tanh())
        self.head = nn.Linear(4, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.body(features))


def probability_of_truth(prediction: Tensor, label: Tensor) -> Tensor:
    return prediction.softmax(1).gather(1, label[:, None])[:, 0]


def full_cggm(**changes: Any) -> CGGM:
    """CGGM with the rho and lam that the paper has for BraTS, but for `changes`."""
    both: dict[str, Any] = {"rho": 1.2, "lam": 0.1}
    return CGGM(**both | changes)


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
        task: str = "classification",
    ) -> None:
        torch.manual_seed(0)
        regression = task == "regression"
        outputs = 1 if regression else 2
        self.task = (
            RegressionTask(nn.L1Loss(), negative_error)
            if regression
            else ClassificationTask(nn.CrossEntropyLoss(), probability_of_truth)
        )
        self.classifiers: nn.ModuleDict | None = None
        self.network: nn.Module
        if method is not None and method.late_fusion is not None:
            members: dict[str, nn.Module] = {n: ToyNetwork([n], outputs) for n in modalities}
            self.network = ToyLateFusion(members, method.late_fusion).to(dtype)
        else:
            self.network = ToyNetwork(modalities, outputs).to(dtype)
            self.classifiers = nn.ModuleDict({n: ToyClassifier(outputs) for n in modalities})
            self.classifiers.to(dtype)
        self.data = [
            {
                "image": torch.randn(len(modalities), 3, dtype=dtype),
                "label": torch.tensor([i % 3 - 1.0], dtype=dtype)
                if regression
                else torch.tensor(i % 2),
                "id": f"sample-{i}",
            }
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

    def stopped(self, epoch: int) -> "ToyRun":
        """Train to the end of an epoch, as if killed there."""
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=epoch), self.trainer.terminate)
        self.run()
        self.random_state = torch.get_rng_state()
        return self

    def resumed(self, first: "ToyRun") -> "ToyRun":
        """Go on from what a run that was stopped left behind, read as from its checkpoint."""
        state = {name: part.state_dict() for name, part in first._parts().items()}
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name in ("epoch", "iteration", "epoch_length"):
            setattr(self.trainer.state, name, getattr(first.trainer.state, name))
        torch.set_rng_state(first.random_state)
        return self.run()

    def _parts(self) -> dict[str, Any]:
        names = ("network", "classifiers", "optimizer", "modulation")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def part(self, name: str) -> str:
        """Which part of the network a parameter belongs to: a modality or "fusion"."""
        pieces = name.split(".")
        return pieces[1] if pieces[0] in ("encoders", "members") else "fusion"

    def first_step_gradients(self) -> dict[str, Tensor]:
        """Gradients as they are when the optimizer steps for the first time."""
        seen: dict[str, Tensor] = {}
        step = self.optimizer.step

        def spy(*args, **kwargs):
            if not seen:
                seen.update(named_gradients(self.network))
                classifiers = named_gradients(self.classifiers or nn.Module())
                seen.update({f"classifiers.{k}": v for k, v in classifiers.items()})
            return step(*args, **kwargs)

        self.optimizer.step = spy
        self.run()
        return seen


def named_gradients(module: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
