"""Episodes as packed arrays: a batch of tasks is a few array operations, with no data frame."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path, read_json, sha256, write_array, write_json
from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.examples import Examples

SPLITS = {"train": 0, "validation": 1, "test": 2}
EPISODE_SETS = (*SPLITS, "ablation")


class _TaskRanges(NamedTuple):
    start: NDArray[np.int64]  # [learners with episodes], the learner's first training episode
    number: NDArray[np.int64]  # [learners with episodes], how many follow each other


@dataclass(frozen=True)
class EpisodeStore:
    """Sessions, the pairs in them, and the few-shot tasks made of the pairs.

    Attributes:
        courses: int32 [steps], every session's course sequence, back to back; courses are 1..C.
        session_start: int64 [sessions + 1], where each session's steps begin.
        pair_session: int32 [pairs], pairs grouped by learner, by time within a learner.
        pair_position: int32 [pairs], steps of the session before the pair's next course.
        pair_time: int64 [pairs], microseconds since 1970, when the next course was opened.
        pair_reliability: float32 [pairs], SRS of the pair's session up to that moment.
        learner_start: int64 [learners + 1], rows of pair_* of each learner.
        learner_split: int8 [learners], 0 train, 1 validation, 2 test, -1 a learner without pairs.
        episodes: set -> int64 [episodes, 2], (learner, row of the first support pair); "train" in
            order of learners, "validation" and "test" one a learner, "ablation" one a test learner
            with pairs enough for `ablation_support_size`.
        num_courses: C.
        support_size: K, pairs to adapt on.
        query_size: Q, pairs to be judged on.
        max_prefix_length: a model sees at most this many latest courses of a prefix.
        ablation_support_size: support pairs held by an "ablation" episode.
    """

    courses: NDArray[np.int32]
    session_start: NDArray[np.int64]
    pair_session: NDArray[np.int32]
    pair_position: NDArray[np.int32]
    pair_time: NDArray[np.int64]
    pair_reliability: NDArray[np.float32]
    learner_start: NDArray[np.int64]
    learner_split: NDArray[np.int8]
    episodes: dict[str, NDArray[np.int64]]
    num_courses: int
    support_size: int
    query_size: int
    max_prefix_length: int
    ablation_support_size: int

    def batch(self, pairs: NDArray[np.int64]) -> Examples:
        """Assemble pairs into rows of a sequence model; rows longest first within each task.

        Args:
            pairs: int64 [tasks, n], rows of pair_*. Neighbours of one session share a row while
                their prefixes are not cut; in the order of the store no row is made twice unless
                sessions of the learner overlap in time. With n = 0 there is one row of padding.

        Returns:
            On the CPU, courses [tasks, rows, time], the rest [tasks, n]. A row ends with the last
            course that one of its prefixes needs.
        """
        if not pairs.shape[1]:
            none, tasks = torch.from_numpy(pairs), len(pairs)
            padding = torch.zeros(tasks, 1, 1, dtype=torch.int64)
            return Examples(padding, none, none, none, torch.zeros(tasks), none, none)
        session, length = self.pair_session[pairs], self.pair_position[pairs].astype(np.int64)
        start = self.session_start[session]
        cut = np.maximum(length - self.max_prefix_length, 0)
        first = np.ones(pairs.shape, dtype=bool)
        first[:, 1:] = (session[:, 1:] != session[:, :-1]) | (cut[:, 1:] != cut[:, :-1])
        row, courses = self._rows(first, start + cut, length - cut)
        label = self.courses[start + length].astype(np.int64)
        of_session = (session.astype(np.int64), cut)
        fields = (courses, row, length - cut - 1, label, self._reliability(pairs), *of_session)
        return Examples(*(torch.from_numpy(array) for array in fields))

    def _reliability(self, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mean over a task's pairs [tasks, n] of their sessions' SRS, up to the latest of them."""
        task = np.arange(len(pairs))[:, None] * len(self.session_start)
        sessions, place = np.unique(self.pair_session[pairs] + task, return_inverse=True)
        latest = np.zeros(len(sessions), np.float32)
        np.maximum.at(latest, place.ravel(), self.pair_reliability[pairs].ravel())
        mean: NDArray[np.float32] = latest[place.reshape(pairs.shape)].mean(1)
        return mean

    def _rows(
        self, first: NDArray[np.bool_], start: NDArray[np.int64], length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number the rows longest first and fill them.

        Args:
            first: bool [tasks, n], whether the pair opens a row.
            start: int64 [tasks, n], index in `courses` of the first step of the pair's prefix.
            length: int64 [tasks, n], steps in the prefix that the model sees.

        Returns:
            Row of each pair [tasks, n] and courses [tasks, rows, time].
        """
        opening = np.flatnonzero(first)
        task = opening // first.shape[1]  # of each row
        longest = np.maximum.reduceat(length.ravel(), opening)
        per_task = first.sum(1)
        begin = np.cumsum(per_task) - per_task  # number of rows in earlier tasks
        order = np.lexsort((-longest, task))
        place = np.empty_like(order)  # of each row within its task, once sorted
        place[order] = np.arange(len(order)) - begin[task]
        row = place[np.cumsum(first.ravel()) - 1].reshape(first.shape)

        courses = np.zeros((len(first), per_task.max(), longest.max()), dtype=np.int64)
        cell = (task * courses.shape[1] + place) * courses.shape[2]
        source = ranges(start.ravel()[opening], longest)
        courses.reshape(-1)[ranges(cell, longest)] = self.courses[source]
        return row, courses

    def support_pairs(
        self, name: str, indices: NDArray[np.int64], size: int | None = None
    ) -> NDArray[np.int64]:
        """Rows of the `size` pairs directly before the query: int64 [tasks, size].

        Args:
            name: "train", "validation", "test" or "ablation".
            indices: int64 [tasks], episodes of that set.
            size: 0 to the number of support pairs an episode of that set holds; None: K.
        """
        held, size = self.held(name), self.support_size if size is None else size
        if not 0 <= size <= held:
            raise ValueError(f"{name} episodes hold {held} support pairs, asked for {size}")
        return self.episodes[name][indices, 1, None] + np.arange(held - size, held)

    def query_pairs(self, name: str, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the query pairs: int64 [tasks, Q]."""
        held = self.held(name)
        return self.episodes[name][indices, 1, None] + np.arange(held, held + self.query_size)

    def support(self, name: str, indices: NDArray[np.int64], size: int | None = None) -> Examples:
        """Support pairs of some episodes, assembled; see `support_pairs`."""
        return self.batch(self.support_pairs(name, indices, size))

    def query(self, name: str, indices: NDArray[np.int64]) -> Examples:
        """Query pairs of some episodes, assembled."""
        return self.batch(self.query_pairs(name, indices))

    def pairs_of(self, split: str) -> NDArray[np.int64]:
        """Rows of all pairs of all learners of "train", "validation" or "test", ascending."""
        chosen = np.repeat(self.learner_split == SPLITS[split], np.diff(self.learner_start))
        return np.flatnonzero(chosen)

    def held(self, name: str) -> int:
        """Support pairs that an episode of "train", "validation", "test" or "ablation" holds."""
        return self.ablation_support_size if name == "ablation" else self.support_size

    @cached_property
    def test_set(self) -> str:
        """Names the test learners and their queries: 16 hex digits that change with them."""
        rows = self.query_pairs("test", np.arange(len(self.episodes["test"])))
        digest = hashlib.sha256(self.episodes["test"].tobytes())
        digest.update(self.courses[self.label_step[rows]].tobytes())
        return digest.hexdigest()[:16]

    @property
    def pair_learner(self) -> NDArray[np.int64]:
        """Learner of each pair: int64 [pairs]."""
        return np.repeat(np.arange(len(self.learner_split)), np.diff(self.learner_start))

    @property
    def label_step(self) -> NDArray[np.int64]:
        """Where each pair's next course stands in `courses`: int64 [pairs]."""
        return self.session_start[self.pair_session] + self.pair_position

    @cached_property
    def task_ranges(self) -> _TaskRanges:
        """Where each training learner's episodes stand in episodes["train"]."""
        learner = self.episodes["train"][:, 0]
        start = np.flatnonzero(np.diff(learner, prepend=-1))
        return _TaskRanges(start, np.diff(start, append=len(learner)))


def sample_tasks(
    store: EpisodeStore,
    meta_batch_size: int,
    rng: np.random.Generator,
    setting: str = "meta_batch_size",
) -> NDArray[np.int64]:
    """Draw a meta-batch: learners without replacement, one random episode of each.

    `setting` is where the size stands in params.yaml, for advice.

    Returns:
        int64 [meta_batch_size], indices into episodes["train"].

    Raises:
        UserError: there are fewer learners than that.
    """
    own = store.task_ranges
    if len(own.start) < meta_batch_size:
        raise UserError(
            f"{setting}: found {meta_batch_size}, but only {len(own.start)} training "
            f"learners have an episode of {store.support_size} + {store.query_size} pairs; "
            f"set {setting} to at most {len(own.start)}, "
            "or lower episodes.support_size or query_size"
        )
    learners = rng.choice(len(own.start), meta_batch_size, replace=False)
    drawn: NDArray[np.int64] = own.start[learners] + rng.integers(own.number[learners])
    return drawn


def write_episodes(folder: Path, store: EpisodeStore) -> None:
    """Write a folder of .npy files and meta.json; the same store gives the same bytes."""
    meta: dict[str, Any] = {name: getattr(store, name) for name in _numbers()}
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        for name, array in _arrays(store):
            write_array(temporary / f"{name}.npy", array)
        meta["sha256"] = {path.name: sha256(path) for path in temporary.iterdir()}
        write_json(temporary / "meta.json", meta)


def _arrays(store: EpisodeStore) -> Iterator[tuple[str, NDArray[Any]]]:
    for field in fields(store):
        value = getattr(store, field.name)
        if isinstance(value, np.ndarray):
            yield field.name, value
    for name, episodes in store.episodes.items():
        yield f"episodes_{name}", episodes


def _numbers() -> list[str]:
    return [field.name for field in fields(EpisodeStore) if field.type is int]


def read_episodes(folder: Path) -> EpisodeStore:
    """Open a folder that `write_episodes` wrote; arrays stay on disk until they are used.

    Raises:
        UserError: the folder is missing, incomplete or damaged.
    """
    meta = read_json(folder / "meta.json")
    keys = sorted([*_numbers(), "sha256"])
    if not isinstance(meta, dict) or sorted(meta) != keys:
        raise UserError(
            f"{folder / 'meta.json'}: expected the keys {', '.join(keys)}; "
            "delete the folder and run `dvc repro`"
        )
    sums = meta.pop("sha256")
    names = [f.name for f in fields(EpisodeStore) if f.name not in (*meta, "episodes")]
    arrays: dict[str, Any] = {name: _open(folder / f"{name}.npy", sums) for name in names}
    episodes = {name: _open(folder / f"episodes_{name}.npy", sums) for name in EPISODE_SETS}
    return EpisodeStore(**arrays, episodes=episodes, **meta)


def _open(path: Path, sums: dict[str, str]) -> NDArray[Any]:
    try:
        if sha256(path) != sums.get(path.name):
            raise ValueError("wrong checksum")
        # As a plain view of the mapped file: indexing the memmap class itself is slower.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro` to make it") from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(
            f"{path}: not a whole .npy file ({error}); delete the folder and run `dvc repro`"
        ) from None
