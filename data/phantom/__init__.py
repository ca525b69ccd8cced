"""Which data can the program run on when no real data are at hand?

Synthetic gliomas in real anatomy, made on first use: see `generate`.
"""

from .generate import generate

__all__ = ["generate"]
