"""Scores of a network's predictions, and comparisons of networks."""
