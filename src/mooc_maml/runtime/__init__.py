"""What a run uses and leaves: hardware, processes, signals, saved state, the pipeline file."""
