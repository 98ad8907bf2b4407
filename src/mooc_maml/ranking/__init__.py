"""Rank of the true course, metrics, and which courses are left out of the ranking."""
