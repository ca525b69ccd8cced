"""Optimizer steps under gradient accumulation: when one is due, and its unscaled gradients."""

from monai.engines import SupervisedTrainer


def step_is_due(engine: SupervisedTrainer) -> bool:
    """Tell whether the batch being trained on ends with an optimizer step.

    MONAI keeps this as a local variable of `SupervisedTrainer._iteration`, so it is computed here
    once more: every `accumulation_steps` batches counted from the start of the epoch, and at the
    last batch of an epoch, where what has been accumulated is flushed.

    Args:
        engine: the trainer, inside one of the events of an iteration (such as
            `BACKWARD_COMPLETED`), when `engine.state.iteration` already counts this batch.
    """
    batches = engine.accumulation_steps
    if batches == 1:
        return True
    length = engine.state.epoch_length
    if length is None:
        return engine.state.iteration % batches == 0
    done = (engine.state.iteration - 1) % length + 1
    return done % batches == 0 or done == length


def step_begins(engine: SupervisedTrainer) -> bool:
    """Tell whether the gradients were zeroed before this batch: the first of an accumulation."""
    batches = engine.accumulation_steps
    length = engine.state.epoch_length
    index = engine.state.iteration - 1
    return (index if length is None else index % length) % batches == 0


def unscale(engine: SupervisedTrainer) -> None:
    """Divide the gradients by the loss scale of mixed precision, once per optimizer step.

    `GradScaler.unscale_` refuses a second call before the next step; handlers that need true
    gradients (clipping, measuring norms) all call this instead, in any order. Without mixed
    precision it does nothing. Call it only where `step_is_due(engine)`.
    """
    if not engine.amp or engine.scaler is None:
        return
    if getattr(engine.state, "unscaled_at", None) == engine.state.iteration:
        return
    engine.scaler.unscale_(engine.optimizer)
    engine.state.unscaled_at = engine.state.iteration
