"""The learning rate over training."""

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from torch import nn

from cggm.pipelines.handlers.learning_rate import warmup_cosine

# zrguo/CGGM, src/eval_metrics.py lines 151-162, run with base 0.01, final 0.001, 4 epochs of 3
# batches, 1 epoch of warm-up from 0.0004.
OFFICIAL = [0.0004, 0.0052, 0.01, 0.01, 0.009728616794, 0.008947199994]
OFFICIAL += [0.00775, 0.0062814168, 0.0047185832, 0.00325, 0.002052800006, 0.001271383206]


def rates(base: float, batches: int, **settings: float) -> list[float]:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=base)
    schedule = warmup_cosine(optimizer, **settings)  # type: ignore[arg-type]
    found = []
    for _ in range(batches):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_equals_the_official_schedule_batch_by_batch() -> None:
    found = rates(
        0.01, 12, epochs=4, epoch_length=3, warmup_epochs=1, start_factor=0.04, final_factor=0.1
    )
    assert found == pytest.approx(OFFICIAL, abs=1e-9)


def test_groups_follow_the_same_curve_times_their_own_rate() -> None:
    network, classifiers = nn.Linear(1, 1), nn.Linear(1, 1)
    groups = [
        {"params": network.parameters(), "lr": 0.01},
        {"params": classifiers.parameters(), "lr": 0.006},
    ]
    optimizer = torch.optim.SGD(groups)
    schedule = warmup_cosine(optimizer, epochs=4, epoch_length=3, warmup_epochs=1)
    for _ in range(12):
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert second == pytest.approx(0.6 * first, rel=1e-12)
        optimizer.step()
        schedule.step()


def test_ends_at_the_final_rate_and_stays_there() -> None:
    found = rates(1.0, 20, epochs=5, epoch_length=2, warmup_epochs=0, final_factor=0.1)
    assert found[0] == 1.0
    assert found[10:] == pytest.approx([0.1] * 10)


def test_training_shorter_than_the_warm_up_only_rises() -> None:
    found = rates(1.0, 4, epochs=2, epoch_length=2, warmup_epochs=10)
    assert found == pytest.approx([0.04, 0.36, 0.68, 1.0])


@pytest.mark.parametrize("accumulation", [1, 2])
def test_counts_batches_in_a_trainer(accumulation: int) -> None:
    network = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    schedule = warmup_cosine(optimizer, epochs=4, epoch_length=3, warmup_epochs=1)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=4,
        train_data_loader=[{"image": torch.ones(2, 1), "label": torch.ones(2, 1)}] * 3,
        network=network,
        optimizer=optimizer,
        loss_function=nn.MSELoss(),
        accumulation_steps=accumulation,
        train_handlers=[LrScheduleHandler(schedule, print_lr=False, epoch_level=False)],
    )
    trainer.run()
    assert schedule.last_epoch == 12
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0, "epoch_length": 3}, "0 epochs of 3 batches leave nothing to train"),
        ({"epochs": 1, "epoch_length": 3, "warmup_epochs": -1}, "lasts -1 epochs"),
        ({"epochs": 1, "epoch_length": 3, "final_factor": 2.0}, r"final_factor is 2.0; a share"),
    ],
)
def test_refuses_numbers_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rates(1.0, 1, **settings)
