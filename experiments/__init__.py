"""What is claimed about models, runnable: `python -m experiments.NAME --help`."""

import stages  # noqa: F401  (this checkout's code, not that of the editable install; Ctrl-C)
