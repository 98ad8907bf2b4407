"""Sequence models: plain modules, each a function of (weights, sequences)."""
