"""Mixed precision and compiled networks, with every method of the catalogue."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from cggm.pipelines.balancing import Balancer
from cggm.pipelines.methods import CATALOGUE, Joint, Method

from ..methods.ready import ready
from ..toy import ToyRun, full_cggm

MODALITIES = ("audio", "text")
EVERY_METHOD = pytest.mark.parametrize("name", sorted(CATALOGUE))


def balancer_of(run: ToyRun, method: Method) -> Balancer:
    return Balancer(method, run.network, run.task, run.classifiers, optimizer=run.optimizer)


def trained(
    name: str,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    scale: float | None = None,
    unscale: str = "never",
    compiled: bool = False,
) -> tuple[ToyRun, Balancer]:
    """Three epochs, in a lower precision if one is given, and with a loss scale."""
    run = ToyRun(ready(name, folder, MODALITIES), samples=16, modalities=MODALITIES)
    balancer = balancer_of(run, ready(name, folder, MODALITIES))
    if compiled:
        torch.compiler.reset()
        run.network.compile(backend="eager")
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    balancer.scaler = scaler
    loader = DataLoader(run.data, batch_size=8)
    torch.manual_seed(0)
    for _ in balancer.epochs(3, loader):
        for batch in loader:
            run.network.train()
            run.optimizer.zero_grad()
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                with balancer.capture():
                    prediction = run.network(batch["image"])
                loss = balancer.loss(prediction, batch["label"], ids=batch["id"])
            scaler.scale(loss).backward()
            if unscale == "before":
                scaler.unscale_(run.optimizer)
            with balancer.modulate():
                if unscale == "within":
                    scaler.unscale_(run.optimizer)
                scaler.step(run.optimizer)
            scaler.update()
    return run, balancer


def check_close(one: ToyRun, other: ToyRun, **tolerance: float) -> None:
    for name, tensor in one.network.state_dict().items():
        torch.testing.assert_close(other.network.state_dict()[name], tensor, **tolerance)


@EVERY_METHOD
def test_a_loss_scale_changes_nothing_wherever_it_is_taken_out(name: str, tmp_path: Path) -> None:
    plain, balancer = trained(name, tmp_path)
    for unscale in ("never", "before", "within"):
        run, scaled = trained(name, tmp_path, scale=1024.0, unscale=unscale)
        check_close(plain, run)
        for row, values in balancer.record.items():
            assert scaled.record[row] == pytest.approx(values, rel=1e-4, abs=1e-6, nan_ok=True)


@EVERY_METHOD
def test_half_precision_trains_close_to_full(name: str, tmp_path: Path) -> None:
    plain, _ = trained(name, tmp_path)
    run, balancer = trained(name, tmp_path, dtype=torch.bfloat16)
    check_close(plain, run, rtol=0.1, atol=0.05)
    run, _ = trained(name, tmp_path, dtype=torch.float16, scale=1024.0)
    check_close(plain, run, rtol=0.1, atol=0.05)


def in_place(network: nn.Module) -> nn.Module:
    network.compile(backend="eager")
    return network


def around(network: nn.Module) -> Any:
    return torch.compile(network, backend="eager")


@pytest.mark.parametrize("compiled", [in_place, around])
def test_a_compiled_network_is_balanced_unless_a_gradient_is_differentiated(compiled: Any) -> None:
    run = ToyRun(Joint())
    images = torch.stack([sample["image"] for sample in run.data])
    label = torch.stack([sample["label"] for sample in run.data])
    network = compiled(run.network)
    factors, direction = full_cggm(direction="none", lam=0.0), full_cggm()
    for method in (factors, direction):
        balancer = balancer_of(run, method)
        torch.compiler.reset()
        for _ in range(2):  # compiled in the first pass, run as it is in the second
            with balancer.capture():
                prediction = network(images)
        if method is direction:
            with pytest.raises(ValueError, match="CGGM differentiates a gradient here"):
                balancer.loss(prediction, label)
            continue
        balancer.loss(prediction, label).backward()
        with balancer.modulate():
            run.optimizer.step()
        assert set(balancer.record["balance"]) == set(run.network.encoders)


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - {"cggm"}))
def test_a_compiled_network_trains_as_it_does_without(name: str, tmp_path: Path) -> None:
    plain, _ = trained(name, tmp_path)
    run, _ = trained(name, tmp_path, compiled=True)
    check_close(plain, run)
    plain, _ = trained(name, tmp_path, dtype=torch.float16, scale=1024.0)
    run, _ = trained(name, tmp_path, dtype=torch.float16, scale=1024.0, compiled=True)
    check_close(plain, run, rtol=1e-3, atol=1e-3)
