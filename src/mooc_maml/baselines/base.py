"""What every baseline can do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from mooc_maml.episode_store import EpisodeStore
from mooc_maml.examples import Examples
from mooc_maml.params import Params

Log = Callable[[str], None]


class Baseline(Protocol):
    """A recommender that does not adapt to a learner, trained on the training learners.

    Attributes:
        history: plain values, one entry a pass over the data; empty if there are no passes.
    """

    history: list[dict[str, Any]]

    @classmethod
    def train(cls, store: EpisodeStore, params: Params, device: torch.device, log: Log) -> Self:
        """Train on all pairs of all training learners; `log` takes a line of progress."""
        ...

    def scores(self, examples: Examples) -> Tensor:
        """Scores of every course: float [tasks, pairs, C]; column j is course j + 1."""
        ...

    def write(self, path: Path) -> None:
        """Write the file that `read` reads; the same baseline, the same bytes."""
        ...

    @classmethod
    def read(cls, path: Path, num_courses: int, device: torch.device) -> Self:
        """Read a trained baseline.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        ...
