"""How far reading is: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], object]]:
    """Give a function to tell of each so many bytes read; it shows bytes and time left.

    Args:
        total: bytes in all.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, unit="B", unit_scale=True, desc="reading") as bar:
            yield bar.update
    else:
        yield _Lines(total)


class _Lines:
    """A line every ten seconds, and none for what takes less."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.start = self.last = time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last < _SECONDS_BETWEEN_LINES or not self.done:
            return
        self.last = now
        left = (now - self.start) * max(self.total - self.done, 0) / self.done
        sizes = f"{self.done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB"
        print(f"reading: {sizes}, about {left:,.0f} s left", file=sys.stderr, flush=True)
