"""Commands as a user types them: start of a run, overrides, checks, plain failures."""

from .start import start

__all__ = [
    "start",
]
