"""Okabe and Ito's palette: colors that can be told apart with any color vision."""

from __future__ import annotations

BLACK = "#000000"
BLUE = "#0072B2"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY_BLUE = "#56B4E9"
VERMILION = "#D55E00"
YELLOW = "#F0E442"

# Of lines that are drawn together, in this order; yellow is too light on white.
LINES = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, VERMILION)
