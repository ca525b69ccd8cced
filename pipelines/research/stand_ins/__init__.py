"""Real data sets that packages carry, to try the bundles on without the paper's data."""

from .catalogue import CATALOGUE, open_stand_in
from .stand_in import StandIn

__all__ = ["CATALOGUE", "StandIn", "open_stand_in"]
