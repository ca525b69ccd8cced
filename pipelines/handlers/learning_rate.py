"""A learning rate schedule: a linear rise, then half a cosine."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(
    optimizer: Optimizer,
    *,
    epochs: int,
    epoch_length: int,
    warmup_epochs: int = 10,
    start_factor: float = 0.04,
    final_factor: float = 0.1,
) -> LambdaLR:
    """Build a schedule that rises linearly, then falls along half a cosine.

    The defaults are the paper's for BraTS: 4e-4 to 1e-2 over 10 epochs, then down to 1e-3. Every
    parameter group follows the same curve times its own base rate.

    Step it once per batch: `LrScheduleHandler(scheduler, epoch_level=False)`. With gradient
    accumulation it still counts batches, so the curve over epochs stays the same, and the
    optimizer uses the rate of the batch at which it steps.

    Args:
        optimizer: what to schedule; its present rates are the top of the curve.
        epochs: number of epochs of the whole training.
        epoch_length: batches per epoch.
        warmup_epochs: epochs of the rise; cut to `epochs` when training is shorter.
        start_factor: rate of the first batch over the base rate, in [0, 1].
        final_factor: rate at the end over the base rate, in [0, 1].

    Raises:
        ValueError: a number is out of its range.
    """
    if epochs < 1 or epoch_length < 1:
        why = "; is a batch larger than the data?" if epochs >= 1 else ""
        raise ValueError(f"{epochs} epochs of {epoch_length} batches leave nothing to train{why}")
    if warmup_epochs < 0:
        raise ValueError(f"the warm-up lasts {warmup_epochs} epochs; it must last 0 or more")
    for name, factor in (("start_factor", start_factor), ("final_factor", final_factor)):
        if not 0 <= factor <= 1:
            raise ValueError(f"{name} is {factor}; a share of the base rate lies in [0, 1]")
    rise = min(warmup_epochs, epochs) * epoch_length
    fall = epochs * epoch_length - rise

    def factor_at(batch: int) -> float:
        if batch < rise:
            return start_factor + (1 - start_factor) * batch / max(rise - 1, 1)
        done = min((batch - rise) / fall, 1.0) if fall else 1.0
        return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor_at)
