"""What every baseline can do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law
from mooc_maml.ranking.query_ranks import ScoreFunction, query_ranks, summary
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.runtime.saved_state import SavedState
from mooc_maml.settings.params import Params

Log = Callable[[str], None]
Parts = Mapping[str, "Baseline"]
NO_PARTS: Parts = MappingProxyType({})


class Baseline(Protocol):
    """A recommender trained on the training learners, to be compared with the meta-model.

    Attributes:
        name: in settings, files and results.
        label: for people, in tables and figures.
        ending: of the name of its file.
        made_of: names of the models that it cannot do without.
        reads_support: whether its scores depend on the support pairs; others look at the query's
            prefix alone.
        law: what its scores are: "logits", "shares", or None if they only order courses.
        history: plain values, one entry a pass over the data; empty if there are no passes.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    ending: ClassVar[str]
    made_of: ClassVar[tuple[str, ...]]
    reads_support: ClassVar[bool]
    law: ClassVar[Law | None]
    history: list[dict[str, Any]]

    @classmethod
    def train(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        parts: Parts = NO_PARTS,
    ) -> Self:
        """Train on the pairs of all training learners.

        Args:
            store: the episodes; choices are made on its validation learners.
            params: the settings.
            device: where scores are to be computed.
            log: takes a line of progress.
            parts: baselines trained before this one, for one that is made of others.
        """
        ...

    def scores(self, support: Examples, query: Examples) -> Tensor:
        """Scores of every course for the query pairs: [tasks, Q, C]; column j is course j + 1.

        Float or integer, without gradients. The support pairs are the learner's latest before the
        query; most baselines do not look at them.
        """
        ...

    def write(self, path: Path) -> None:
        """Write the file that `read` reads; the same baseline, the same bytes."""
        ...

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read a trained baseline.

        Args:
            path: what `write` wrote.
            num_courses: the catalogue that it has to rank.
            device: where scores are to be computed.
            parts: baselines read before this one, for one that is made of others.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        ...


@runtime_checkable
class FittedOnValidation(Protocol):
    """A model with so many weights fitted on the validation learners that these flatter it.

    Wherever its figures on validation are shown or chosen by, they are those below.
    """

    @property
    def left_out_validation(self) -> Mapping[str, float]:
        """Metric -> mean over the validation learners, each ranked by a fit without that one."""


@runtime_checkable
class Resumable(Protocol):
    """A baseline that trains for so long that its training is kept as it goes."""

    @classmethod
    def resume(
        cls,
        store: EpisodeStore,
        params: Params,
        device: torch.device,
        log: Log,
        saved: SavedState,
        parts: Parts = NO_PARTS,
    ) -> Any:
        """Train as `Baseline.train` does, from the saved state on if there is one.

        Stopped anywhere and called again, it ends with the same weights to the last bit.
        """
        ...


def validator(
    store: EpisodeStore, params: Params, device: torch.device
) -> Callable[[ScoreFunction], dict[str, float]]:
    """A measure of scorers, by which a baseline makes its choices.

    Returns:
        scorer -> metric -> mean over the validation learners; seen courses are treated as in the
        test.
    """
    seen, at_once = seen_filter(store, params), params.hardware.tasks_at_once

    def validate(score: ScoreFunction) -> dict[str, float]:
        score = seen.without(score)
        return summary(
            query_ranks(score, store, "validation", tasks_at_once=at_once, device=device)
        )

    return validate
