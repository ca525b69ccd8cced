"""The demonstration behind `make demo`: train with and without CGGM, compare, draw, report."""
