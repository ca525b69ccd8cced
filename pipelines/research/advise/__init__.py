"""Advice on a user's own data: is there imbalance between modalities, and what helps."""
