"""Settings of the baselines: a file of its name for each, and a line in the section's table."""
