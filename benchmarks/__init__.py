"""What is claimed about speed and memory, runnable: `python -m benchmarks.NAME`."""

import stages  # noqa: F401  (this checkout's code, not that of the editable install; Ctrl-C)
