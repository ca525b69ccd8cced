"""Figures in the words a person would use."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """Write a time in the unit a person would use.

    >>> duration(12.4), duration(200), duration(9000)
    ('12 s', '3 min', '2 h 30 min')
    """
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def percent(share: float) -> str:
    """Write a share in whole percent, rounded down: one below a limit never reads as the limit.

    >>> percent(0.8996), percent(0.29), percent(1)
    ('89 %', '29 %', '100 %')
    """
    return f"{math.floor(100 * share + 1e-9)} %"
