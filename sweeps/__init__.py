"""Programs that run the stages many times: `python -m sweeps.NAME --help`."""

import stages  # noqa: F401  (this checkout's code, not that of the editable install; Ctrl-C)
