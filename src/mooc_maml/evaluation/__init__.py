"""Comparison on the test learners: intervals, paired tests, controls, test reads."""
