"""Comparisons of finished experiments: statistics over seeds, tables and figures of all methods."""
