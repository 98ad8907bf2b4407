"""params.yaml as typed, frozen, checked models."""
