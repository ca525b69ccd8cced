"""How do a run's settings reach MLflow?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler

# What MLflow stores of one value.
_LONGEST_VALUE = 6000


class TrackedSettings:
    """Handler that records settings as parameters of the run that `--tracking mlflow` opens.

    MONAI appends its `MLFlowHandler` to the trainer's handlers and lets it record the number of
    epochs and their length only. This one finds it there and adds the settings. Without
    `--tracking` it does nothing. Curves need no handler: MONAI records `engine.state.metrics`
    after every epoch.

    Args:
        settings: values by name; nested dictionaries become names with a slash.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)

    def attach(self, engine: Engine) -> None:
        """Register on the trainer.

        At the first epoch: MONAI's handler opens its run when training starts, after the handlers
        that come before it.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self)
        self._is_done = False

    def __call__(self, engine: Engine) -> None:
        """Add the settings to the runs of all MLflow handlers of the trainer, once."""
        if self._is_done:
            return
        self._is_done = True
        for tracker in _trackers(engine):
            parameters = {name: str(value)[:_LONGEST_VALUE] for name, value in flat(self.settings)}
            # A resumed run keeps its parameters, which MLflow never changes.
            tracker._delete_exist_param_in_dict(parameters)
            tracker._log_params(parameters)


def _trackers(engine: Engine) -> list[MLFlowHandler]:
    """Find the MLflow handlers that are attached; ignite has no public way to list handlers."""
    handlers = [handler for handler, _, _ in engine._event_handlers[Events.STARTED]]
    owners = [getattr(handler, "__self__", None) for handler in handlers]
    return [owner for owner in owners if isinstance(owner, MLFlowHandler)]


def flat(
    settings: Mapping[str, Any], separator: str = "/", prefix: str = ""
) -> list[tuple[str, Any]]:
    """Pairs of name and value, with the names of nested dictionaries joined.

    >>> flat({"lr": 0.1, "methods": {"cggm": {"rho": 1.3}}})
    [('lr', 0.1), ('methods/cggm/rho', 1.3)]
    """
    pairs: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            pairs += flat(value, separator, f"{prefix}{name}{separator}")
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs
