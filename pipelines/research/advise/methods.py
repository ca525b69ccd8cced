"""What an advice compares with joint training."""

DROPOUT = "joint + dropout"
METHODS = (DROPOUT, "cggm", "progress_rates", "dgl", "greedy")
