"""The examples in plain PyTorch and with Lightning, run with the real libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

# The second of two epochs modulates, and there is no third.
WITH_EPOCHS = """
import lightning_module
from cggm.pipelines.methods import OGMGE

second = lightning_module.main(OGMGE(first_epoch=2, last_epoch=2), precision="bf16-mixed")
third = lightning_module.main(OGMGE(first_epoch=3))
assert min(second.values()) < 1.0 == min(third.values()), (second, third)
"""

# Float16 with a loss scale, as on a GPU; the record is that of full precision.
WITH_A_SCALER = """
import lightning
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning_module import Balanced
from pytorch import data
from torch.utils.data import DataLoader

def trained(**settings):
    torch.manual_seed(0)
    module = Balanced()
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, **settings
    )
    trainer.fit(module, DataLoader(data(), batch_size=8))
    return module.balancer

plain = trained()
half = trained(plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))])
assert half.scaler.get_scale() > 1000
for name in ("gradient_norm", "score"):
    for modality, value in plain.record[name].items():
        assert abs(half.record[name][modality] - value) < 0.05 * abs(value), (name, modality)
"""


@pytest.mark.parametrize(
    ("name", "library", "modalities"),
    [
        ("pytorch", "torch", ("sound", "text")),
        ("two_sensors", "torch", ("motion", "air")),
        ("lightning_module", "lightning", ("sound", "text")),
    ],
)
def test_an_example_balances_both_modalities(
    name: str, library: str, modalities: tuple[str, str], tmp_path: Path
) -> None:
    pytest.importorskip(library)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(f"'{modality}'" in done.stdout for modality in modalities)


@pytest.mark.parametrize("code", [WITH_EPOCHS, WITH_A_SCALER])
def test_lightning_tells_a_method_of_epochs_and_of_a_loss_scale(code: str, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
