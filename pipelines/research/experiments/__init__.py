"""Grids of runs over several seeds, trained and tested, on this machine or on a Ray cluster."""
