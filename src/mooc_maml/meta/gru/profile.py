"""Shapes to which batches are padded, so that they repeat: what a captured graph needs.

All batches of a run are padded to one envelope, worked out beforehand from batches drawn like them.
On a GPU a step in time takes about as long for many sessions as for few, so width costs little. An
envelope that grew with the batches met would make results depend, to rounding, on where a run was
taken up.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mooc_maml.episodes.examples import Examples

MARGIN = 1.1  # beyond the largest of the batches drawn


@dataclass(frozen=True)
class Profile:
    """The shape of a `Packed` of so many tasks.

    Attributes:
        tasks: exactly.
        pairs: of a task, at most.
        n: steps of a task, at most.
        sizes: for every time t the most sessions that run; it never grows with t.
    """

    tasks: int
    pairs: int
    n: int
    sizes: tuple[int, ...]

    def fits(self, other: "Profile") -> bool:
        """Whether what has that shape can be padded to this one."""
        return (
            self.tasks == other.tasks
            and self.pairs >= other.pairs
            and self.n >= other.n
            and len(self.sizes) >= len(other.sizes)
            and all(own >= size for own, size in zip(self.sizes, other.sizes, strict=False))
        )


def profile_of(examples: Examples) -> Profile:
    """The shape of examples without padding."""
    lengths = (examples.courses != 0).sum(2)  # [tasks, rows]
    ending = lengths.flatten().bincount()  # sessions of each length, from 0
    running = (lengths > 0).sum() - ending.cumsum(0) + ending[0]
    sizes = [size for size in running.tolist() if size]
    tasks, pairs = examples.label.shape
    return Profile(tasks, pairs, int(lengths.sum(1).max()), tuple(sizes))


def envelope(drawn: Iterable[Examples]) -> Profile:
    """A shape for all batches like those drawn, one at least, of as many tasks as the largest."""
    found = [profile_of(examples) for examples in drawn]
    tasks = max(own.tasks for own in found)
    found = [own for own in found if own.tasks == tasks]
    time = max(len(own.sizes) for own in found)
    padded = [own.sizes + (0,) * (time - len(own.sizes)) for own in found]
    sizes = tuple(_with_margin(max(at_once), 4) for at_once in zip(*padded, strict=True))
    n = _with_margin(max(own.n for own in found), 8)
    return Profile(tasks, max(own.pairs for own in found), n, sizes)


def _with_margin(most: int, multiple: int) -> int:
    return math.ceil(most * MARGIN / multiple) * multiple
