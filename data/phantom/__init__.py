"""Synthetic gliomas in real anatomy, for when no real data are at hand: see `generate`."""

from .generate import generate

__all__ = ["generate"]
