"""Joint training: the baseline that every method is compared with."""

from .base import Method


class Joint(Method):
    """Train all modalities together on the task loss and change nothing."""
