"""Checks of a case before its mask is believed, and how sure the network is of the mask."""

from .case import check_case
from .confidence import confidence, entropy
from .findings import Finding

__all__ = ["Finding", "check_case", "confidence", "entropy"]
