"""One file a baseline, all scored by the same ranking code."""
