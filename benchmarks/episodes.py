"""Meta-batches to measure on: synthetic learners of known shape, and episodes of a pipeline run.

Synthetic learners behave like the study's: each goes back and forth between two to five courses,
which are drawn by popularity. They are synthetic; only their shapes matter here.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.randomness import generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import SPLITS, EpisodeStore, read_episodes, sample_tasks

SUPPORT_SIZE, QUERY_SIZE = 5, 10


@dataclass(frozen=True)
class Setting:
    """One meta-batch.

    Attributes:
        name: as printed.
        support: K pairs a task.
        query: Q pairs a task, all later than the support pairs.
        num_courses: C, size of the catalogue.
    """

    name: str
    support: Examples
    query: Examples
    num_courses: int


def reference_setting(seed: int, tasks: int = 32, num_courses: int = 343) -> Setting:
    """32 tasks, K = 5, Q = 10, 343 courses, prefixes of up to 20.

    A learner has one session of 16 to 21 steps, and the first learner's has 21. Its last 15 pairs
    are the episode: 5 to adapt on, the 10 after them to be judged on; so the longest prefix of the
    meta-batch has exactly 20 courses and the shortest may have 1.
    """
    rng = generator(seed, "benchmark-reference")
    lengths = [[21 if task == 0 else int(rng.integers(16, 22))] for task in range(tasks)]
    return _made_up("reference", rng, lengths, num_courses)


def many_sessions(seed: int, tasks: int = 32, num_courses: int = 343) -> Setting:
    """The reference setting, but each learner's pairs come from many sessions of 2 to 8 steps.

    The last 15 pairs are the episode; sessions at its ends, and between support and query, may be
    split. No prefix is longer than 7.
    """
    rng = generator(seed, "benchmark-many-sessions")
    lengths = []
    for _ in range(tasks):
        drawn = rng.integers(2, 9, size=SUPPORT_SIZE + QUERY_SIZE)
        enough = np.searchsorted(np.cumsum(drawn - 1), SUPPORT_SIZE + QUERY_SIZE) + 1
        lengths.append(drawn[:enough].tolist())
    return _made_up("many_sessions", rng, lengths, num_courses)


def catalogue(seed: int, num_courses: int) -> Setting:
    """The reference setting with another number of courses."""
    same = reference_setting(seed, num_courses=num_courses)
    return Setting(f"catalogue_{num_courses}", same.support, same.query, num_courses)


def from_store(folder: Path, seed: int, tasks: int = 32) -> Setting:
    """A meta-batch of training episodes that the pipeline's `build_episodes` wrote.

    Raises:
        UserError: the folder is damaged or has too few learners.
    """
    store = read_episodes(folder)
    chosen = sample_tasks(store, tasks, generator(seed, "benchmark-store"))
    support, query = store.support("train", chosen), store.query("train", chosen)
    return Setting(f"store:{folder.name}", support, query, store.num_courses)


def synthetic_store(seed: int, learners: int, num_courses: int = 343) -> EpisodeStore:
    """Synthetic learners to meta-train on, where no episodes of a pipeline run are at hand.

    Each has 2 to 8 sessions of 2 to 40 steps and one more of 16, and one episode, of its last
    pairs; one in five is for validation.
    """
    rng = generator(seed, "benchmark-store")
    lengths = [[16, *rng.integers(2, 41, rng.integers(2, 9)).tolist()] for _ in range(learners)]
    sizes = [len(of_learner) for of_learner in lengths]
    store = _store(_sessions(rng, lengths, num_courses), sizes, num_courses)
    split = (np.arange(learners) % 5 == 0).astype(np.int8)  # 0 train, 1 validation
    first = store.learner_start[1:] - SUPPORT_SIZE - QUERY_SIZE
    episodes = np.stack([np.arange(learners), first], 1)
    sets = {name: episodes[split == number] for name, number in SPLITS.items()}
    return replace(store, learner_split=split, episodes=sets)


def _made_up(
    name: str, rng: np.random.Generator, lengths: list[list[int]], num_courses: int
) -> Setting:
    """One learner a list of session lengths (steps), each with at least K + Q pairs."""
    sessions = _sessions(rng, lengths, num_courses)
    store = _store(sessions, [len(of_learner) for of_learner in lengths], num_courses)
    pairs = store.learner_start[1:, None] - np.arange(SUPPORT_SIZE + QUERY_SIZE, 0, -1)
    support, query = np.split(pairs, [SUPPORT_SIZE], axis=1)
    return Setting(name, store.batch(support), store.batch(query), num_courses)


def _sessions(
    rng: np.random.Generator, lengths: list[list[int]], num_courses: int
) -> list[NDArray[np.int32]]:
    """The sessions of these lengths (steps), a list of them a learner, back to back."""
    popularity = 1 / np.arange(1, num_courses + 1)
    sessions = []
    for of_learner in lengths:
        tastes = _distinct(rng, popularity, int(rng.integers(2, 6)))
        sessions += [_back_and_forth(rng, tastes, steps) for steps in of_learner]
    return sessions


def _distinct(
    rng: np.random.Generator, popularity: NDArray[np.float64], size: int
) -> NDArray[np.int64]:
    """`size` different courses 1..C, drawn by popularity [C]."""
    return rng.choice(len(popularity), size, replace=False, p=popularity / popularity.sum()) + 1


def _back_and_forth(
    rng: np.random.Generator, tastes: NDArray[np.int64], steps: int
) -> NDArray[np.int32]:
    """Courses [steps] out of `tastes`, none twice in a row."""
    moves = rng.integers(1, len(tastes), size=steps)
    return tastes[np.cumsum(moves) % len(tastes)].astype(np.int32)


def _store(
    sessions: list[NDArray[np.int32]], sessions_of_learner: list[int], num_courses: int
) -> EpisodeStore:
    """The pipeline's packed arrays for these sessions, to assemble batches as training does."""
    sizes = np.array([len(session) for session in sessions])
    learner_sizes = np.add.reduceat(sizes - 1, np.cumsum([0, *sessions_of_learner[:-1]]))
    pairs = int(learner_sizes.sum())
    return EpisodeStore(
        courses=np.concatenate(sessions),
        session_start=np.cumsum([0, *sizes]),
        pair_session=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes - 1),
        pair_position=np.concatenate([np.arange(1, size, dtype=np.int32) for size in sizes]),
        pair_time=np.arange(pairs),
        pair_reliability=np.ones(pairs, dtype=np.float32),
        learner_start=np.cumsum([0, *learner_sizes]),
        learner_split=np.zeros(len(learner_sizes), dtype=np.int8),
        episodes={},
        num_courses=num_courses,
        support_size=SUPPORT_SIZE,
        query_size=QUERY_SIZE,
        max_prefix_length=50,
        ablation_support_size=SUPPORT_SIZE,
    )
