"""Which method is better, over several seeds? Grids of runs, their statistics, their tables."""
