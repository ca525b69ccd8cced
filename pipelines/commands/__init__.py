"""What a user types: start of a run, overrides, checks, plain failures."""

from .start import start

__all__ = [
    "start",
]
