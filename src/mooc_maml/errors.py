"""The one kind of error that a user can mend, and how a stage shows it."""

import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something outside the code is wrong; the message names it and says what to do."""


def main_guard(main: Callable[[], None]) -> None:
    """Run a stage's main; show a `UserError` as plain words and exit with status 1."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(130)
