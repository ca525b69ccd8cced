"""Which method is better, over several seeds? Grids of runs, trained and tested."""
