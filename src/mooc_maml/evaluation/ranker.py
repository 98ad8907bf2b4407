"""One way to evaluate whatever scores courses: on a set of episodes, seen courses treated alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from mooc_maml.common.progress import part, step
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import Ranks
from mooc_maml.meta.model import MetaModel, read_meta_model
from mooc_maml.ranking.law import Law
from mooc_maml.ranking.query_ranks import Answers, ScoreFunction, query_answers, query_ranks
from mooc_maml.ranking.seen import SeenFilter, seen_filter
from mooc_maml.runtime.processes import ALONE, ProcessGroup
from mooc_maml.runtime.tasks_at_once import TasksAtOnce
from mooc_maml.settings.params import Params

Scorers = Mapping[str, ScoreFunction]


@dataclass(frozen=True)
class Ranker:
    """Episodes, and how they are ranked.

    Attributes:
        store: the episodes.
        seen: courses that are left out of the ranking, for every model alike.
        device: where scorers want their examples.
        tasks_at_once: episodes scored together; bounds memory.
        process_group: the processes that share what `ranks` ranks.
    """

    store: EpisodeStore
    seen: SeenFilter
    device: torch.device
    tasks_at_once: int
    process_group: ProcessGroup = ALONE

    @cached_property
    def at_once(self) -> TasksAtOnce:
        """`tasks_at_once`, halved where the memory of a GPU is too small."""
        return TasksAtOnce(self.tasks_at_once)

    def ranks(
        self, name: str, score: ScoreFunction, episode_set: str, support_size: int | None = None
    ) -> Ranks:
        """Ranks [episodes, Q] of the true courses; the arguments are those of `query_ranks`.

        `name` is the model's in the line of progress.
        """
        with part(name, self.learners(episode_set), "learners"):
            return query_ranks(
                self.seen.without(score),
                self.store,
                episode_set,
                tasks_at_once=self.at_once,
                device=self.device,
                support_size=support_size,
                process_group=self.process_group,
                on_done=self.ranked,
            )

    def ranked(self, count: int) -> None:
        """Tell of so many learners ranked here, and about as many by each of the others."""
        step(count * self.process_group.size)

    def answers(
        self, name: str, score: ScoreFunction, episode_set: str, law: Law | None
    ) -> Answers:
        """The same ranks, the courses that come first, and probabilities; see `query_answers`."""
        with part(name, self.learners(episode_set), "learners"):
            return query_answers(
                self.seen.without(score),
                self.store,
                episode_set,
                tasks_at_once=self.at_once,
                device=self.device,
                law=law,
                on_done=step,
            )

    def learners(self, episode_set: str) -> int:
        """Episodes of a set, one a learner."""
        return len(self.store.episodes[episode_set])


def read_ranked_model(
    params: Params, store: EpisodeStore, folder: Path, process_group: ProcessGroup = ALONE
) -> tuple[Ranker, MetaModel]:
    """The meta-model that meta-training left in a folder, and a ranker on its device.

    Raises:
        UserError: the model is missing, damaged, or made for another catalogue.
    """
    seen = seen_filter(store, params)
    meta = read_meta_model(folder, params, store.num_courses, seen)
    at_once = params.hardware.tasks_at_once
    return Ranker(store, seen, meta.device, at_once, process_group), meta
