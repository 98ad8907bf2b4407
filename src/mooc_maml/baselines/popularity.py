"""Popularity: every learner is told what training learners opened next most often."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Log, Parts
from mooc_maml.baselines.training_sessions import next_courses
from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path, write_array
from mooc_maml.common.tensor_files import ENDING
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.settings.params import Params


class Popularity:
    """Scores a course by how many training pairs have it as their next course.

    Args:
        counts: int64 [C], of courses 1..C.
    """

    name: ClassVar[str] = "popularity"
    label: ClassVar[str] = "Popularity"
    ending: ClassVar[str] = ".npy"
    made_of: ClassVar[tuple[str, ...]] = ()
    reads_support: ClassVar[bool] = False
    law: ClassVar[Law | None] = "shares"

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts
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
        """Count the next courses of all training pairs."""
        following = next_courses(store)[1]
        counts = np.bincount(following - 1, minlength=store.num_courses)
        log(f"popularity: {len(following)} training pairs, {(counts > 0).sum()} courses seen")
        return cls(torch.from_numpy(counts).to(device))

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """The counts, for every query pair: int64 [tasks, Q, C]."""
        return self.counts.expand(*query.label.shape, -1)

    def write(self, path: Path) -> None:
        """Write the counts as a .npy file; with the ending .safetensors in that format."""
        if path.suffix == ENDING:
            write_arrays(path, len(self.counts), counts=self.counts.cpu().numpy())
            return
        with atomic_path(path) as temporary:
            write_array(temporary, self.counts.cpu().numpy())

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read the counts.

        Raises:
            UserError: the file is missing, is damaged, or counts another number of courses.
        """
        if path.suffix == ENDING:
            found = read_arrays(path, num_courses, ["counts"])["counts"]
            return cls(torch.from_numpy(found).to(device))
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
