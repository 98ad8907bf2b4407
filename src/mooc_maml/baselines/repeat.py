"""Repeat what this learner repeats: courses of the learner's own past, the most frequent first."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.baselines.histories import with_history
from mooc_maml.baselines.training_sessions import next_courses, popularity_shares
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import last_courses, prefixes
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.settings.params import Params


class Repeat:
    """How often the learner has opened a course, as support pairs and prefix together show it.

    Courses opened as often, or never, are ranked by popularity. The current course comes last if no
    training learner opened a course again directly after it.

    Args:
        share: float64 [C], popularity, adds up to 1.
        stays: whether a course can follow itself.
        device: of the scores.
    """

    name: ClassVar[str] = "repeat"
    label: ClassVar[str] = "Repeat own courses"
    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = ()
    reads_support: ClassVar[bool] = True
    law: ClassVar[Law | None] = None

    def __init__(self, share: NDArray[np.float64], stays: bool, device: torch.device) -> None:
        self.share, self.stays, self.device = share, stays, device
        self.history: list[dict[str, Any]] = []

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Learn popularity, and whether a course ever follows itself."""
        current, following = next_courses(store)
        stays = bool((current == following).any())
        log(f"repeat: {len(current)} training pairs, courses follow themselves: {stays}")
        return cls(popularity_shares(store), stays, device)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Counts plus popularity below 1, for every query pair: float64 [tasks, Q, C]."""
        courses = len(self.share)
        told = with_history(support, query, separator=0)  # 0 is not counted
        counts = _counts(prefixes(told), courses)
        scores = counts + torch.from_numpy(self.share / 2).to(counts)
        if not self.stays:
            scores.scatter_(-1, last_courses(query)[..., None] - 1, -1.0)
        return scores

    def write(self, path: Path) -> None:
        """Write popularity as an .npz file."""
        write_arrays(path, len(self.share), share=self.share, stays=np.array(self.stays))

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read popularity.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        found = read_arrays(path, num_courses, ("share", "stays"))
        return cls(found["share"], bool(found["stays"]), device)


def _counts(courses: Tensor, num_courses: int) -> Tensor:
    """How often each course 1..C is in a list: int64 [..., n], 0 = none -> float64 [..., C]."""
    lists = courses.reshape(-1, courses.shape[-1]).cpu().numpy()
    cell = np.arange(len(lists))[:, None] * (num_courses + 1) + lists
    counts = np.bincount(cell.ravel(), minlength=len(lists) * (num_courses + 1))
    found = torch.from_numpy(counts.astype(np.float64)).to(courses.device)
    return found.view(*courses.shape[:-1], num_courses + 1)[..., 1:]
