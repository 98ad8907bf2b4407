"""What MAML is compared with: one file a baseline, the table in `registry`, settings by name."""
