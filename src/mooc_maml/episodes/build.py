"""From pairs to few-shot tasks: a disjoint split by learner, then support pairs before query pairs.

Rules: the study's (K support pairs followed in time by Q query pairs of one learner; training
windows slide, validation and test have one episode a learner).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.reliability import pair_reliability
from mooc_maml.episodes.session_steps import SessionSteps
from mooc_maml.episodes.store import SPLITS, EpisodeStore
from mooc_maml.settings.params import Params


def split_learners(learners: NDArray[np.int64], params: Params) -> list[NDArray[np.int64]]:
    """Split learners at random into training, validation and test, in shares of `episodes`.

    Args:
        learners: int64 [n], those with pairs.
        params: fractions and seeds. Shares are rounded down; test learners get what is left.
    """
    own = params.episodes.split_seed
    seed = params.seed if own is None else own
    shuffled = generator(seed, "split-learners").permutation(learners)
    shares = (params.episodes.train_fraction, params.episodes.validation_fraction)
    # The small number undoes shares like 0.29 x 100 = 28.999999999999996.
    sizes = [int(share * len(learners) + 1e-9) for share in shares]
    return np.split(shuffled, np.cumsum(sizes))


def _split(pairs: NDArray[np.int64], params: Params) -> NDArray[np.int8]:
    """Pairs of each learner [learners] -> number of the learner's split, -1 without pairs."""
    split = np.full(len(pairs), -1, dtype=np.int8)
    parts = split_learners(np.flatnonzero(pairs), params)
    for number, learners in zip(SPLITS.values(), parts, strict=True):
        split[learners] = number
    return split


def _pairs_in_order(steps: SessionSteps) -> NDArray[np.int64]:
    """Indices of the steps that end a pair, in the order of learners and of their time."""
    pair = np.flatnonzero(steps.columns["is_pair"])
    order = [steps.columns[name][pair] for name in ("position", "session", "time", "learner")]
    return pair[np.lexsort(order)]


def build_episodes(steps: SessionSteps, params: Params) -> tuple[EpisodeStore, dict[str, Any]]:
    """Split learners, cut episodes, and count what was made and dropped.

    A learner's pairs are in order of (time of the next course, session, position). An episode is
    dropped when its latest support label is not strictly earlier than its first query label.

    Returns:
        The store, and a report of plain values.

    Raises:
        UserError: there is no pair, or a split has no learner with enough pairs or no episode left.
    """
    columns, pair = steps.columns, _pairs_in_order(steps)
    if not len(pair):
        raise UserError(
            f"no pair in {len(columns['course']):,} session steps of {steps.num_courses:,} "
            "courses: in no session another course follows at a later time; are the columns of "
            "courses and times the right ones, and sessions.gap_seconds long enough?"
        )
    pairs = np.bincount(columns["learner"][pair], minlength=steps.num_learners)
    windows = _Windows(_starts(pairs), _split(pairs, params), columns["time"][pair], params)
    held = max(params.episodes.support_size, *params.ablations.support_sizes)
    episodes = {name: windows.of(name, params.episodes.support_size) for name in SPLITS}
    episodes["ablation"] = windows.of("ablation", held)
    kinds = len(params.data.event_prefixes)
    reliability, caps = pair_reliability(steps, pair, windows.learner_split, kinds)
    store = EpisodeStore(
        courses=columns["course"].astype(np.int32),
        session_start=_starts(np.bincount(columns["session"])),
        pair_session=columns["session"][pair].astype(np.int32),
        pair_position=columns["position"][pair].astype(np.int32),
        pair_time=windows.time,
        pair_reliability=reliability,
        learner_start=windows.learner_start,
        learner_split=windows.learner_split,
        episodes=episodes,
        num_courses=steps.num_courses,
        support_size=params.episodes.support_size,
        query_size=params.episodes.query_size,
        max_prefix_length=params.episodes.max_prefix_length,
        ablation_support_size=held,
    )
    return store, _report(store, windows.dropped) | {"reliability_caps": caps}


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sizes [n] of things back to back -> where each begins and the last ends [n + 1]."""
    return np.concatenate([[0], np.cumsum(sizes)])


class _Windows:
    """Cuts runs of neighbouring pairs of one learner; `dropped` counts those not kept, by set."""

    def __init__(
        self,
        learner_start: NDArray[np.int64],
        learner_split: NDArray[np.int8],
        time: NDArray[np.int64],
        params: Params,
    ) -> None:
        self.learner_start, self.learner_split, self.time = learner_start, learner_split, time
        self.params = params
        self.dropped: dict[str, int] = {}

    def of(self, name: str, support: int) -> NDArray[np.int64]:
        """Episodes [n, 2] of a set: sliding windows for training, one a learner otherwise."""
        learners, spare = self._learners(name, support)
        settings, first = self.params.episodes, self.learner_start[learners]
        if name == "train":
            number = spare // settings.stride + 1  # windows of each learner
            nth = np.arange(number.sum()) - np.repeat(_starts(number)[:-1], number)
            learners = np.repeat(learners, number)
            first = np.repeat(first, number) + nth * settings.stride
        elif settings.position == "last":
            first = first + spare
        return self._kept(name, learners, first, support)

    def _learners(self, name: str, support: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Learners of a set with enough pairs, and how many pairs each has beyond that."""
        part = "test" if name == "ablation" else name
        needed = support + self.params.episodes.query_size
        pairs = np.diff(self.learner_start)
        learners = np.flatnonzero(self.learner_split == SPLITS[part])
        enough = learners[pairs[learners] >= needed]
        if not len(enough):
            setting = "ablations.support_sizes" if name == "ablation" else "episodes.support_size"
            raise UserError(
                f"no {part} learner has the {support} support + {needed - support} query pairs of "
                f"{name} episodes: found {len(learners)} {part} learners, with at most "
                f"{pairs[learners].max(initial=0)} pairs each; lower {setting} or "
                f"episodes.query_size, raise episodes.{part}_fraction, or use more data"
            )
        return enough, pairs[enough] - needed

    def _kept(
        self, name: str, learners: NDArray[np.int64], first: NDArray[np.int64], support: int
    ) -> NDArray[np.int64]:
        """Drop episodes whose support does not end strictly before the query begins."""
        kept = self.time[first + support - 1] < self.time[first + support]
        self.dropped[name] = int((~kept).sum())
        if not kept.any():
            raise UserError(
                f"all {len(kept)} {name} episodes were dropped, since the latest support pair is "
                "not strictly earlier than the first query pair; "
                "are the times of data too coarse? Change episodes.position or support_size"
            )
        return np.stack([learners[kept], first[kept]], axis=1)


def _report(store: EpisodeStore, dropped: dict[str, int]) -> dict[str, Any]:
    pairs = np.diff(store.learner_start)
    needed = store.support_size + store.query_size
    of_split = {name: store.learner_split == number for name, number in SPLITS.items()}
    return {
        "learners": {
            **{name: int(chosen.sum()) for name, chosen in of_split.items()},
            "without_pairs": int((store.learner_split == -1).sum()),
        },
        "pairs": {name: int(pairs[chosen].sum()) for name, chosen in of_split.items()},
        "learners_with_too_few_pairs": {
            name: int((chosen & (pairs < needed)).sum()) for name, chosen in of_split.items()
        },
        "episodes": {name: len(episodes) for name, episodes in store.episodes.items()},
        "training_learners_with_episodes": len(store.task_ranges.start),
        "episodes_dropped_support_not_before_query": dropped,
        "support_size": store.support_size,
        "query_size": store.query_size,
        "ablation_support_size": store.ablation_support_size,
        "courses": store.num_courses,
    }
