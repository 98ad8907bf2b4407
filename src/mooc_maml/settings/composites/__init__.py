"""Settings of models made of others: a file of its name for each, and a line in the table."""
