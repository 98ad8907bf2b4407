"""One way to rank the query courses of every episode, whatever the model."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mooc_maml.episodes.examples import Examples, costs_on, groups_on
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.law import Law, probabilities
from mooc_maml.ranking.metrics import metrics, ranks
from mooc_maml.runtime.processes import ALONE, ProcessGroup
from mooc_maml.runtime.tasks_at_once import TasksAtOnce

FIRST = 10  # courses of a ranking that are kept: those that HR@10 and NDCG@10 look at
_CPU = torch.device("cpu")
_ASSEMBLED_AT_ONCE = 1024  # episodes among which those of similar size are scored together

# Takes numbers of episodes as they are ranked.
OnDone = Callable[[int], object]

# (support, query) -> scores of the query pairs: float [tasks, Q, C]
ScoreFunction = Callable[[Examples, Examples], Tensor]
Result = TypeVar("Result")


class Answers(NamedTuple):
    """What a scorer answers to every query of a set of episodes.

    Attributes:
        ranks: int64 [episodes, Q], rank of the true course among all courses.
        first: int32 [episodes, Q, n], the courses ranked first, the best one first; n is `FIRST`,
            or the number of courses if that is smaller.
        first_probabilities: float32 [episodes, Q, n], what the scores say of these courses; None:
            the scores are no law.
        true_probability: float32 [episodes, Q], the same of the true course.
    """

    ranks: NDArray[np.int64]
    first: NDArray[np.int32]
    first_probabilities: NDArray[np.float32] | None = None
    true_probability: NDArray[np.float32] | None = None

    def put(self, places: NDArray[np.int64], own: "Answers") -> None:
        """Write those of some episodes into these."""
        pairs: Iterator[tuple[Any, Any]] = zip(self, own, strict=True)
        for whole, part in pairs:
            if whole is not None:
                whole[places] = part


def query_ranks(
    score: ScoreFunction,
    store: EpisodeStore,
    episode_set: str,
    *,
    tasks_at_once: int | TasksAtOnce,
    device: torch.device,
    support_size: int | None = None,
    process_group: ProcessGroup = ALONE,
    on_done: OnDone = lambda count: None,
) -> NDArray[np.int64]:
    """Rank of the true course, among all courses, for every query pair of a set of episodes.

    Args:
        score: gives the scores of the query pairs; it may adapt on the support pairs.
        store: the episodes.
        episode_set: "train", "validation", "test" or "ablation".
        tasks_at_once: episodes scored together; bounds memory, see `TasksAtOnce`.
        device: where `score` wants its examples.
        support_size: support pairs, those directly before the query; 0: none; None: K.
        process_group: the processes that share the work; all get all ranks.
        on_done: told how many episodes were ranked, each time.

    Returns:
        int64 [episodes, Q]; episodes are in the order of store.episodes[episode_set].

    Raises:
        UserError: out of memory on a GPU, see `TasksAtOnce`.
    """

    def read(support: Examples, query: Examples) -> Tensor:
        own = query.to(device)
        return ranks(score(support.to(device), own).detach(), own.label)

    at_once = TasksAtOnce.of(tasks_at_once)
    total = len(store.episodes[episode_set])
    found = torch.zeros(total, store.query_size, dtype=torch.int64, device=device)
    groups = episode_groups(store, episode_set, at_once.number, support_size, process_group, device)
    for indices, support, query in groups:
        for part, own in in_parts(at_once, read, support, query):
            found[indices[part]] = own
        on_done(len(indices))
    return process_group.sum(found)[0].cpu().numpy()


def query_answers(
    score: ScoreFunction,
    store: EpisodeStore,
    episode_set: str,
    *,
    tasks_at_once: int | TasksAtOnce,
    device: torch.device,
    law: Law | None = None,
    on_done: OnDone = lambda count: None,
) -> Answers:
    """The ranks of `query_ranks`, the courses that come first, and what `law` makes of the scores.

    The other arguments are those of `query_ranks`, in one process and with K support pairs.
    """

    def read(support: Examples, query: Examples) -> Answers:
        own = query.to(device)
        return answers_of(score(support.to(device), own).detach(), own.label, law)

    at_once = TasksAtOnce.of(tasks_at_once)
    total, queries = len(store.episodes[episode_set]), store.query_size
    first = total, queries, min(FIRST, store.num_courses)
    found = Answers(np.zeros((total, queries), np.int64), np.zeros(first, np.int32))
    if law is not None:
        stated = np.zeros(first, np.float32), np.zeros((total, queries), np.float32)
        found = Answers(found.ranks, found.first, *stated)
    for indices, support, query in episode_groups(
        store, episode_set, at_once.number, device=device
    ):
        for part, own in in_parts(at_once, read, support, query):
            found.put(indices[part], own)
        on_done(len(indices))
    return found


def answers_of(scores: Tensor, labels: Tensor, law: Law | None) -> Answers:
    """What scores [tasks, Q, C] answer, on the CPU; labels: int64 [tasks, Q]."""
    rank, first = ranks(scores, labels), first_courses(scores, labels, FIRST)
    found = rank.cpu().numpy(), first.int().cpu().numpy()
    if law is None:
        return Answers(*found)
    asked = torch.cat([first, labels[..., None]], -1)
    stated = probabilities(scores, asked, law).float().cpu().numpy()
    return Answers(*found, stated[..., :-1], stated[..., -1])


def in_parts(
    at_once: TasksAtOnce, read: Callable[..., Result], *examples: Examples
) -> list[tuple[slice, Result]]:
    """What `read` gives for examples of the same tasks, and which tasks; one part if it fits.

    Raises:
        UserError: out of memory on a GPU, see `TasksAtOnce`.
    """
    total = examples[0].num_tasks

    def part(start: int, end: int) -> tuple[slice, Result]:
        whole = end - start == total
        own = examples if whole else tuple(x.tasks(start, end) for x in examples)
        return slice(start, end), read(*own)

    return at_once.run(part, total)


def first_courses(scores: Tensor, labels: Tensor, number: int) -> Tensor:
    """The courses ranked first, in the order that `ranks` counts by.

    Ties count against the model, so the true course comes after its equals; others that are equal
    stand in the order of their numbers. The true course is thus at place `rank`, from 1, or not
    among them. A score that is not a number counts as worst.

    Args:
        scores: float or integer [..., C]; column j is course j + 1.
        labels: int64 [...], the true course 1..C.
        number: how many are wanted.

    Returns:
        int64 [..., min(number, C)], courses 1..C.
    """
    if scores.is_floating_point():
        scores = torch.where(scores.isnan(), -torch.inf, scores)
    number = min(number, scores.shape[-1])
    flat, true = scores.flatten(0, -2), labels.flatten()
    best = flat.topk(number, sorted=True)
    # Where there are ties topk may choose any; those rows are sorted whole, which is slower.
    equals = (best.values[:, 1:] == best.values[:, :-1]).any(1)
    tied = equals | ((flat >= best.values[:, -1:]).sum(1) > number)
    found = best.indices + 1
    found[tied] = _sorted_whole(flat[tied], true[tied])[:, :number]
    return found.view(*labels.shape, number)


def _sorted_whole(scores: Tensor, labels: Tensor) -> Tensor:
    """All courses of each row [rows, C] in the order of `first_courses`."""
    column, true = torch.arange(scores.shape[-1], device=scores.device), labels[:, None] - 1
    # The true course moved to the last column: a stable sort then puts it behind its equals.
    moved = torch.where(column < len(column) - 1, column + (column >= true), true)
    order = scores.gather(1, moved).sort(dim=1, descending=True, stable=True).indices
    return moved.gather(1, order) + 1


def episode_groups(
    store: EpisodeStore,
    episode_set: str,
    tasks_at_once: int,
    support_size: int | None = None,
    process_group: ProcessGroup = ALONE,
    device: torch.device = _CPU,
) -> Iterator[tuple[NDArray[np.int64], Examples, Examples]]:
    """Episodes of similar size together: their indices, support pairs and query pairs, on the CPU.

    The arguments are those of `query_ranks`; of several processes each gets its share of groups,
    which are the same however many there are. What goes together depends on the device, see
    `groups_on`.
    """
    total = len(store.episodes[episode_set])
    for start in range(0, total, _ASSEMBLED_AT_ONCE):
        indices = np.arange(start, min(start + _ASSEMBLED_AT_ONCE, total))
        support = store.support(episode_set, indices, support_size)
        query = store.query(episode_set, indices)
        groups = groups_on(device, support, query, list(range(len(indices))), tasks_at_once)
        cost = costs_on(device, support, query)
        for number in process_group.share([sum(cost[i] for i in group) for group in groups]):
            group = groups[number]
            yield indices[group], support.take(group), query.take(group)


def own_groups(
    device: torch.device,
    support: Examples,
    query: Examples,
    process_group: ProcessGroup,
    at_most: int,
) -> list[list[int]]:
    """This process's share of some tasks, in the groups that go together on a device."""
    mine = process_group.share(costs_on(device, support, query))
    return groups_on(device, support, query, mine, at_most)


def learner_metrics(ranks: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Ranks [learners, Q] -> metric: [learners], each the mean over the learner's queries."""
    return {name: values.mean(-1) for name, values in metrics(ranks).items()}


def summary(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Ranks [learners, Q] -> metric: the mean over learners of their mean over queries."""
    return {name: float(values.mean()) for name, values in learner_metrics(ranks).items()}
