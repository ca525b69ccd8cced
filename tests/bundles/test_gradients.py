"""CGGM in every bundle: the gradients it changes, by how much, and nothing else.

The networks, losses, scores and optimizers are those of the bundles' train.json, on small data.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents
from torch import Tensor, nn

from cggm.models import MultimodalNetwork
from cggm.pipelines.handlers import Modulation
from cggm.pipelines.methods.cggm import paper_balance

from ..equations import check, guarded, recomputed
from .conftest import Bundle, command

FACTORS_ONLY = {"direction": "none", "apply": "gradient", "max_norm": None}
# A score that tells the modalities apart at the first step already: whether an argument is right
# may not, and an error that starts from 0 looks like a loss to all of them.
SCORES: dict[str, dict[str, str]] = {
    "brats": {},
    "food101": {"score": "probability"},
    "iemocap": {"score": "probability"},
    "mosi": {"score": "acc2"},
}
NEUTRAL = {"rule": "none", "lam": 0.0, "direction": "none"}


class Training:
    """The training of a bundle, built and not started, with what a test wants to see of it."""

    def __init__(self, bundle: Bundle, out: Path, **overrides: Any) -> None:
        # Classifiers are there beside every method, so that their gradients are compared, too.
        workflow = bundle.workflow("train.json", out, **{"score_modalities": True} | overrides)
        workflow.initialize()
        self.parser = workflow.parser
        # In the order in which `run` builds them, so that both draw the same weights.
        self.trainer = self.get("train#trainer")
        self.network: MultimodalNetwork = self.get("network_def")
        self.classifiers: nn.ModuleDict = self.get("classifiers")
        self.modulation: Modulation = self.get("modulation")
        self.gradients: list[dict[str, Tensor]] = []

    def get(self, name: str) -> Any:
        return self.parser.get_parsed_content(name)

    def run(self, steps: int | None = None) -> "Training":
        """Train, for so many iterations or to the end, keeping the gradients of each."""
        self.trainer.add_event_handler(IterationEvents.MODEL_COMPLETED, self._keep)
        if steps is not None:
            self.trainer.data_loader = list(self._batches())[:steps]
            self.trainer.state.epoch_length = steps
            self.trainer.state.max_epochs = 1
        self.trainer.run()
        return self

    def _batches(self) -> Iterator[Any]:
        return iter(self.get("train#dataloader"))

    def _keep(self, engine: Any) -> None:
        gradients = {n: p.grad for n, p in self.network.named_parameters() if p.grad is not None}
        gradients |= {f"classifiers.{n}": p.grad for n, p in self.classifiers.named_parameters()}
        self.gradients.append({name: g.clone() for name, g in gradients.items() if g is not None})


def modality_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "encoders" else None


def check_factors(changed: Training, plain: Training, step: int = -1) -> None:
    """Each encoder's gradient is its own factor times the plain one, all others are the same."""
    balance = changed.modulation.record["balance"]
    assert list(balance) == changed.network.modalities
    assert len({round(factor, 6) for factor in balance.values()}) > 1, balance
    touched = dict.fromkeys(balance, 0)
    for name, gradient in plain.gradients[step].items():
        modality = modality_of(name)
        factor = 1.0 if modality is None else balance[modality]
        torch.testing.assert_close(
            changed.gradients[step][name], factor * gradient, rtol=1e-5, atol=1e-9, msg=name
        )
        if modality is not None and bool(gradient.any()):
            touched[modality] += 1
    # What would have caught a modulation that matches no parameter: none may be left out.
    assert min(touched.values()) >= 10
    assert len(set(touched.values())) == 1


@pytest.mark.parametrize("rule", ["bounded", "paper"])
def test_each_encoder_gets_its_own_factor_and_nothing_else_is_touched(
    rule: str, bundle: Bundle, tmp_path: Path
) -> None:
    settings = FACTORS_ONLY | SCORES[bundle.name]
    changed = Training(bundle, tmp_path, rule=rule, **settings).run(1)
    plain = Training(bundle, tmp_path, method="joint", max_norm=None).run(1)
    check_factors(changed, plain)
    if rule == "paper":
        record = changed.modulation.record
        improvements = torch.tensor(list(record["improvement"].values()))
        expected = paper_balance(improvements, changed.get("rho"))
        torch.testing.assert_close(torch.tensor(list(record["balance"].values())), expected)


def test_the_step_of_each_encoder_is_scaled_under_the_bundles_own_optimizer(
    bundle: Bundle, tmp_path: Path
) -> None:
    settings = {"apply": "step", "lam": 0.0, "direction": "none", "weight_decay": 0.0}
    settings |= SCORES[bundle.name]
    updates = []
    for overrides in (settings, {"method": "joint", "weight_decay": 0.0}):
        training = Training(bundle, tmp_path, **overrides)
        before = {n: p.detach().clone() for n, p in training.network.named_parameters()}
        training.run(1)
        after = training.network.named_parameters()
        updates.append({name: p.detach() - before[name] for name, p in after})
        if overrides is settings:
            balance = training.modulation.record["balance"]
    changed, plain = updates
    for name, update in plain.items():
        factor = balance.get(modality_of(name) or "", 1.0)
        torch.testing.assert_close(changed[name], factor * update, rtol=1e-3, atol=1e-6, msg=name)


def test_neutral_cggm_equals_joint_training_bit_for_bit(bundle: Bundle, tmp_path: Path) -> None:
    neutral = Training(bundle, tmp_path, **NEUTRAL).run(2)
    joint = Training(bundle, tmp_path, method="joint").run(2)
    assert len(joint.gradients) == 2
    for name, value in joint.network.state_dict().items():
        assert torch.equal(neutral.network.state_dict()[name], value), name


def test_accumulated_gradients_are_scaled_once(bundle: Bundle, tmp_path: Path) -> None:
    settings = {"accumulation_steps": 2, "batch_size": bundle.training["batch_size"] // 2}
    changed = Training(bundle, tmp_path, **FACTORS_ONLY, **settings, **SCORES[bundle.name]).run(2)
    plain = Training(bundle, tmp_path, method="joint", max_norm=None, **settings).run(2)
    assert all(
        torch.equal(changed.gradients[0][name], gradient)
        for name, gradient in plain.gradients[0].items()
    ), "the step is not due yet"
    check_factors(changed, plain)


def without_dropout(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def test_cggm_is_equations_6_to_13(bundle: Bundle, tmp_path: Path) -> None:
    """Two steps of `--method cggm` on a batch, computed again from the states before them."""
    training = Training(bundle, tmp_path, max_norm=None, val_interval=100, modality_dropout=0.0)
    given = json.loads((bundle.folder / "train.json").read_text())
    without_dropout(training.network)
    network, classifiers = training.network.double(), training.classifiers.double()
    loss = training.get("loss_function").double()
    batches = [doubled(next(training._batches()))] * 2
    training.trainer.data_loader = batches
    training.trainer.state.epoch_length, training.trainer.state.max_epochs = 2, 1
    both = nn.ModuleList([network, classifiers])
    states, factors = [], []

    @training.trainer.on(Events.ITERATION_STARTED)
    def keep_state() -> None:
        states.append({name: value.clone() for name, value in both.state_dict().items()})

    @training.trainer.on(Events.ITERATION_COMPLETED)
    def keep_factors() -> None:
        factors.append(list(training.modulation.record["balance"].values()))

    network.train()
    training.run()
    before = dict.fromkeys(network.modalities, 0.0)  # epsilon of step 0
    parts = set()
    for step, (batch, state) in enumerate(zip(batches, states, strict=True)):
        both.load_state_dict(state)
        inputs, label = (batch[k] for k in INPUTS.get(bundle.name, ("inputs", "label")))
        found = training.gradients[step]
        features = network.encode(inputs)
        guesses = {
            name: classifiers[name](tuple(part.detach() for part in h))
            for name, h in features.items()
        }
        scores = {name: SCORE[given_task(bundle)](p, label) for name, p in guesses.items()}
        improvement = {name: scores[name] - before[name] for name in scores}  # eq. 6
        before = scores
        balance = guarded(improvement, given["rho"])
        assert factors[step] == pytest.approx(list(balance.values()), abs=5e-5)

        plain, whole, own = recomputed(
            network,
            classifiers,
            network.fuse(features),
            guesses,
            loss,
            label,
            balance,
            given["lam"],
        )
        for name, gradient in own.items():
            check(found[f"classifiers.{name}"], 1.0, gradient, name)
        for name, gradient in whole.items():
            factor = balance.get(modality_of(name) or "", 1.0)
            check(found[name], factor, gradient, name)  # eq. 8
            if not torch.allclose(gradient, plain[name], rtol=1e-3, atol=1e-9):
                parts.add(modality_of(name) or name.split(".")[0])
    assert any(len({round(factor, 4) for factor in row}) > 1 for row in factors), factors
    # With L1 the slope in the last layer does not depend on the last layer.
    reached = {*network.modalities, "fusion"} | (set() if bundle.name == "mosi" else {"head"})
    assert parts >= reached, "the direction term reaches all of the network"


INPUTS = {"brats": ("image", "label")}


def given_task(bundle: Bundle) -> str:
    return {"brats": "dice", "mosi": "mae"}.get(bundle.name, "accuracy")


def dice(prediction: Tensor, label: Tensor) -> float:
    """Mean Dice of WT, TC and ET, slice by slice, with 1e-3 in numerator and denominator."""
    values = []
    for classes in ((1, 2, 3), (1, 3), (3,)):
        truth = torch.stack([label[:, 0] == c for c in classes]).any(0).flatten(1)
        found = torch.stack([prediction.argmax(1) == c for c in classes]).any(0).flatten(1)
        both, each = (truth & found).sum(1), truth.sum(1) + found.sum(1)
        values.append((2 * both + 2e-3) / (each + 2e-3))
    return torch.stack(values).mean().item()


SCORE: dict[str, Callable[[Tensor, Tensor], float]] = {
    "dice": dice,
    "mae": lambda prediction, label: -(prediction - label).abs().mean().item(),
    "accuracy": lambda prediction, label: (prediction.argmax(1) == label).double().mean().item(),
}


def doubled(batch: Any) -> Any:
    if isinstance(batch, Tensor):
        plain = batch.as_subclass(Tensor)
        return plain.double() if plain.is_floating_point() else plain
    if isinstance(batch, dict):
        return {name: doubled(value) for name, value in batch.items()}
    return tuple(doubled(value) for value in batch) if isinstance(batch, tuple) else batch


def test_resuming_equals_not_stopping(bundle: Bundle, tmp_path: Path) -> None:
    # A schedule that depends on the number of epochs is that of the whole run from the start.
    schedule = {"scheduler#epochs": 2} if bundle.name == "brats" else {"lr_step": 1}
    bundle.run("train.json", tmp_path / "whole", epochs=2, **schedule)
    bundle.run("train.json", tmp_path / "parts", epochs=1, **schedule)
    bundle.run("train.json", tmp_path / "parts", epochs=2, resume=True, **schedule)
    whole, parts = (
        torch.load(tmp_path / name / "models" / "last.pt", weights_only=True)
        for name in ("whole", "parts")
    )
    assert whole["trainer"] == parts["trainer"]
    for content in ("network", "classifiers"):
        assert all(torch.equal(parts[content][n], v) for n, v in whole[content].items()), content
    for record in ("modulation.csv", "split.json"):
        text = (tmp_path / "whole" / record).read_text()
        assert (tmp_path / "parts" / record).read_text() == text
    assert history(tmp_path / "parts") == history(tmp_path / "whole")


def history(out: Path) -> list[dict[str, str]]:
    with open(out / "history.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


# What each process holds at the end: only the first one writes checkpoints.
OVERLAY = {"+finalize": ["$torch.save(@network_def.state_dict(), 'rank' + str(@rank) + '.pt')"]}


def test_two_processes_train_one_network(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "overlay.json").write_text(json.dumps(OVERLAY))
    files = [bundle.folder / "train.json", bundle.folder / "multi_gpu_train.json"]
    batch = 2 if bundle.name == "brats" else 16
    settings = {"epochs": 2, "batch_size": batch, "modality_dropout": 0.5}
    words = bundle.words("train.json", tmp_path / "out", **settings)
    words[words.index("--config_file") + 1] = str(
        [*map(str, files), str(tmp_path / "overlay.json")]
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = command([*torchrun, "-m", "monai.bundle", *words], tmp_path)
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    # Running statistics are each rank's own until the next forward pass copies those of rank 0.
    learned = [name for name in ranks[0] if "running_" not in name and "num_batches" not in name]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in learned)
    last = torch.load(tmp_path / "out" / "models" / "last.pt", weights_only=True)
    assert all(torch.equal(ranks[0][name], value) for name, value in last["network"].items())
    steps = (tmp_path / "out" / "modulation.csv").read_text().splitlines()
    modalities = len({name.split(".")[1] for name in learned if name.startswith("encoders.")})
    length = last["trainer"]["epoch_length"]
    # header; epochs, batches, modalities and the network itself
    assert len(steps) == 1 + 2 * length * (modalities + 1)
    assert done.stdout.count("epoch 2/2") == 1, "only one of them talks"
