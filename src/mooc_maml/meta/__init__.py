"""The meta-learning engine: inner loop, outer loop, and the learners they run on."""
