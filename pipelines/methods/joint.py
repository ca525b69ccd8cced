"""Joint training: the baseline that every method is compared with."""

from ..balancing.method import TASKS, Method


class Joint(Method):
    """Train all modalities together on the task loss and change nothing."""

    published = frozenset(TASKS)
    extended = frozenset()
    needs_own_encoders = False
