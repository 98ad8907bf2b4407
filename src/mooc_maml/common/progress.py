"""How far a stage is, in one line with the time left: rewritten on a terminal, else one a minute.

A stage opens the line (`following`); what takes long in it opens a part (`part`) and tells its
steps (`step`). Where no line is open, as when the library is called, the steps go nowhere.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0
SECONDS_BETWEEN_REWRITES = 0.1
_CLEAR = "\r\x1b[K"  # the line that the terminal's cursor is in

Clock = Callable[[], float]
Steps = int | None  # how many a part will take; None: not known yet


@dataclass
class Part:
    """A part of a stage under way.

    Attributes:
        name: "gru"; empty where the stage has one part only.
        total: steps in all.
        unit: what a step is, in the plural.
        at_most: whether it may end before (early stopping).
        begun: the clock when it began.
        first: steps that were done before, by a run that was stopped.
        done: steps done, those included.
        note: what else the line tells, such as a loss.
        scale: steps that count as one in what is shown: 1,000,000 where bytes are shown as MB.
    """

    name: str
    total: int
    unit: str
    at_most: bool
    begun: float
    first: int
    done: int
    note: str = ""
    scale: int = 1

    def seconds_a_step(self, now: float) -> float | None:
        """Mean since it began; None before the first step."""
        steps = self.done - self.first
        return (now - self.begun) / steps if steps > 0 else None


class Line:
    """What is told of a stage.

    Args:
        stage: its name.
        plan: its parts in their order, and how many steps each takes. One that comes again (the
            same model on another set) is taken to be as fast, a step, as before.
        clock: seconds.
        show: takes the line each time that it is made anew.
        every: seconds between two.
    """

    def __init__(
        self,
        stage: str,
        plan: Sequence[tuple[str, Steps]],
        clock: Clock,
        show: Callable[[str], object],
        every: float,
    ) -> None:
        self.stage, self.plan, self._clock = stage, list(plan), clock
        self._show, self._every, self._shown_at = show, every, clock()
        self._place, self._speed = -1, dict[str, float]()
        self.part: Part | None = None

    def begin(self, part: Part) -> None:
        """Begin a part; one that the plan does not name is shown without a number."""
        later = range(self._place + 1, len(self.plan))
        self._place = next((i for i in later if self.plan[i][0] == part.name), self._place)
        self.part = part

    def end(self) -> None:
        """The part is over, with all its steps or before."""
        assert self.part is not None
        speed = self.part.seconds_a_step(self._clock())
        if speed is not None:
            self._speed[self.part.name] = speed
        self.part = None

    def step(self, count: int, note: str) -> None:
        """So many steps more of the part under way."""
        if self.part is None:
            return
        self.part.done = min(self.part.done + count, self.part.total)
        self.part.note = note
        now = self._clock()
        if now - self._shown_at >= self._every:
            self._shown_at = now
            self._show(self.text(self.part, now))

    def text(self, part: Part, now: float) -> str:
        """test: mixture (30 of 46), 40 of 131 learners, about 3 min left."""
        numbered = bool(self.plan) and self.plan[max(self._place, 0)][0] == part.name
        number = f" ({self._place + 1} of {len(self.plan)})" if numbered else ""
        name = f"{part.name}{number}, " if part.name else ""
        done, total = part.done // part.scale, -(-part.total // part.scale)
        left = self._left(part, now)
        note = f"; {part.note}" if part.note else ""
        return f"{self.stage}: {name}{done:,} of {total:,} {part.unit}{left}{note}"

    def _left(self, part: Part, now: float) -> str:
        """Time left, of the stage where all that is to come has been timed, else of the part."""
        speed = part.seconds_a_step(now)
        if speed is None:
            return ""
        seconds, about = max(part.total - part.done, 0) * speed, "about"
        if part.at_most:
            about = "at most about"
        speeds = {**self._speed, part.name: speed}
        for name, steps in self.plan[self._place + 1 :]:
            if steps is None or name not in speeds:
                return f", {about} {words(seconds)} left for this part"
            seconds += steps * speeds[name]
        return f", {about} {words(seconds)} left"


_open: Line | None = None


@contextmanager
def following(
    stage: str, plan: Sequence[tuple[str, Steps]] = (), clock: Clock = time.monotonic
) -> Iterator[None]:
    """Tell on standard error how far a stage is, as long as the statement lasts.

    Only one process of several may do so. Within another one, it is that one that tells.

    Args:
        stage: its name.
        plan: see `Line`.
        clock: seconds.
    """
    global _open
    if _open is not None:
        yield
        return
    rewritten = is_rewritten()
    # nrows: on a terminal that does not tell its height tqdm would hide the line
    bar = tqdm(bar_format="{desc}", leave=False, nrows=20, file=sys.stderr) if rewritten else None
    every = SECONDS_BETWEEN_REWRITES if rewritten else SECONDS_BETWEEN_LINES

    def show(text: str) -> None:
        if bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            bar.set_description_str(text[: shutil.get_terminal_size().columns - 1])

    _open = Line(stage, plan, clock, show, every)
    try:
        yield
    finally:
        _open = None
        if bar is not None:
            bar.close()


@contextmanager
def part(
    name: str,
    total: int,
    unit: str,
    *,
    done: int = 0,
    at_most: bool = False,
    scale: int = 1,
) -> Iterator[None]:
    """A part of the stage that is followed; within another part, that one goes on.

    Args:
        name: as in the plan; empty where the stage has one part only.
        total: steps in all.
        unit: what a step is, in the plural.
        done: steps that a run before has done.
        at_most: whether it may end before.
        scale: steps that count as one in what is shown.
    """
    line = _open
    if line is None or line.part is not None:
        yield
        return
    begun = line._clock()
    line.begin(Part(name, total, unit, at_most, begun, done, done, scale=scale))
    try:
        yield
    finally:
        line.end()


def step(count: int = 1, note: str = "") -> None:
    """So many steps more of the part under way, if one is.

    Args:
        count: the steps.
        note: shown after the time left.
    """
    if _open is not None:
        _open.step(count, note)


def say(text: str, *, error: bool = False) -> None:
    """Print a line of its own, above the one that is rewritten.

    That may be another process's, of those that share a terminal; it makes it anew.

    Args:
        text: the line.
        error: to standard error instead of standard output.
    """
    stream = sys.stderr if error else sys.stdout
    is_beside_another = stream.isatty() and not sys.stderr.isatty()
    # the line's end with it, so that no other process's line comes between
    tqdm.write(f"{_CLEAR if is_beside_another else ''}{text}\n", file=stream, end="")
    stream.flush()


@contextmanager
def reading(total: int) -> Iterator[Callable[[int], object]]:
    """Give a function to tell of each so many bytes read, as a part of its own.

    Args:
        total: bytes in all.
    """
    with part("reading", total, "MB", scale=1_000_000):
        yield step


def is_rewritten() -> bool:
    """Whether a line can be rewritten in place: on a terminal, and not in a log that CI keeps."""
    dumb = os.environ.get("TERM") == "dumb" or os.environ.get("CI", "false") not in ("", "false")
    return sys.stderr.isatty() and not dumb


def words(seconds: float) -> str:
    """40 s; 12 min; 2 h 5 min. Rounded up: it shall rather be over before."""
    if seconds <= 59:
        return f"{max(math.ceil(seconds), 1)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
