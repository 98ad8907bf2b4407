"""Popularity: every learner is told what training learners opened next most often."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mooc_maml.baselines.base import Log
from mooc_maml.episode_store import EpisodeStore
from mooc_maml.errors import UserError
from mooc_maml.examples import Examples
from mooc_maml.files import atomic_path
from mooc_maml.params import Params


class Popularity:
    """Scores a course by how many training pairs have it as their next course.

    Args:
        counts: int64 [C], of courses 1..C.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts
        self.history: list[dict[str, Any]] = []

    @classmethod
    def train(cls, store: EpisodeStore, params: Params, device: torch.device, log: Log) -> Self:
        """Count the next courses of all training pairs."""
        pairs = store.pairs_of("train")
        step = store.session_start[store.pair_session[pairs]] + store.pair_position[pairs]
        counts = np.bincount(store.courses[step], minlength=store.num_courses + 1)[1:]
        log(f"popularity: {len(pairs)} training pairs, {(counts > 0).sum()} courses seen")
        return cls(torch.from_numpy(counts).to(device))

    def scores(self, examples: Examples) -> Tensor:
        """The counts, for every pair: [tasks, pairs, C]."""
        return self.counts.expand(*examples.label.shape, -1)

    def write(self, path: Path) -> None:
        """Write the counts as a .npy file."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, self.counts.cpu().numpy(), allow_pickle=False)

    @classmethod
    def read(cls, path: Path, num_courses: int, device: torch.device) -> Self:
        """Read the counts.

        Raises:
            UserError: the file is missing, is damaged, or counts another number of courses.
        """
        try:
            counts = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; run `dvc repro` to make it") from None
        except (ValueError, OSError, EOFError) as error:
            raise UserError(
                f"{path}: not a whole .npy file ({error}); delete it and run `dvc repro`"
            ) from None
        if counts.shape != (num_courses,):
            raise UserError(
                f"{path}: counts of shape {counts.shape}, the data have {num_courses} "
                "courses; it was made from other data, run `dvc repro`"
            )
        return cls(torch.from_numpy(counts).to(device))
