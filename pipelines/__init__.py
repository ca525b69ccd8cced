"""What happens over time: balancing, training, evaluation, inference."""
