"""Chance: what a model is worth that knows nothing."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import prefixes
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.settings.params import Params

_ODD = np.uint64(0x9E3779B97F4A7C15)


class RandomScores:
    """Scores drawn for each pair from the seed and what the learner has done, its label not seen.

    The same pair gets the same scores in whatever batch it comes, on any device.

    Args:
        seed: root of the draws.
        num_courses: C.
        device: of the scores.
    """

    name: ClassVar[str] = "random"
    label: ClassVar[str] = "Random"
    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = ()
    reads_support: ClassVar[bool] = True
    law: ClassVar[Law | None] = None

    def __init__(self, seed: int, num_courses: int, device: torch.device) -> None:
        self.seed, self.num_courses, self.device = seed, num_courses, device
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
        """Remember the seed."""
        log(f"random: seed {params.seed}")
        return cls(params.seed, store.num_courses, device)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Uniform on [0, 1), for every query pair: float64 [tasks, Q, C]."""
        learner = _digest(support.label.cpu().numpy())[:, None]  # [tasks, 1]
        pair = _digest(prefixes(query).cpu().numpy())  # [tasks, Q]
        key = _mixed(_mixed(learner + np.uint64(self.seed)) + pair)
        course = np.arange(1, self.num_courses + 1, dtype=np.uint64) * _ODD
        drawn = (_mixed(key[..., None] + course) >> np.uint64(11)) * 2.0**-53
        return torch.from_numpy(drawn).to(self.device)

    def write(self, path: Path) -> None:
        """Write the seed as an .npz file."""
        write_arrays(path, self.num_courses, seed=np.array(self.seed))

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read the seed.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        found = read_arrays(path, num_courses, ("seed",))
        return cls(int(found["seed"]), num_courses, device)


def _digest(courses: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each sequence [..., time], whatever padding of 0 follows it."""
    powers = np.cumprod(np.full(courses.shape[-1], _ODD, dtype=np.uint64))
    digest: NDArray[np.uint64] = (courses.astype(np.uint64) * powers).sum(-1, dtype=np.uint64)
    return digest


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014), which makes neighbours differ."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
