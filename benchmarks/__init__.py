"""What is claimed about speed and memory, runnable: `python -m benchmarks.NAME`."""

from pathlib import Path

import stages  # noqa: F401  (this checkout's code, not that of the editable install; Ctrl-C)

ROOT = Path(__file__).resolve().parents[1]  # of the source tree
