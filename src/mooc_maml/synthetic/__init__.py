"""The embedded, synthetic platform and its oracle."""
