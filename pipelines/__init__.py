"""Everything that happens over time: balancing, training, evaluation, inference."""
