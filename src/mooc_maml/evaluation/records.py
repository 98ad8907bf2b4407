"""Records of every query: what each model answered, and what is known of the query.

A folder with a Parquet file a model, all of the same columns, so that
`pandas.read_parquet("data/records")` reads them as one table. Courses are numbers; their ids stand
in data/pairs/courses.parquet. Every metric of the test can be made again from the column `rank`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mooc_maml.common.files import atomic_path, read_parquet
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import Ranks
from mooc_maml.evaluation.vocabulary import read_ids
from mooc_maml.ranking.query_ranks import Answers

# Rows are in order of learners, as the test has them, then of queries.
#   model                name of the model, as in the result files
#   learner              number of the learner, 0..
#   learner_id           the id that the learner has in the raw data
#   query                0..Q-1, in order of time
#   rank                 of the true course among all, 1 = best; ties count against the model
#   first_courses        the ten courses ranked first, best first; fewer if there are fewer courses
#   first_probabilities  of these, as the model states them; null: its scores are no law
#   true_probability     the same of the true course
#   true_course          the next course that was opened
#   prefix_length        courses opened before it in its session, all of them
#   in_prefix            whether the true course is one of these
#   in_support           whether the support pairs show it, in a prefix or as a next course
#   support_courses      how many different courses the support pairs show
#   popularity_rank      1 + courses that are more often the next course of a training pair
#   earlier_sessions     sessions of the learner with a pair before this one, but this pair's own
_COLUMNS = {
    "model": pa.string(),
    "learner": pa.int32(),
    "learner_id": pa.string(),
    "query": pa.int16(),
    "rank": pa.int32(),
    "first_courses": pa.list_(pa.int32()),
    "first_probabilities": pa.list_(pa.float32()),
    "true_probability": pa.float32(),
    "true_course": pa.int32(),
    "prefix_length": pa.int32(),
    "in_prefix": pa.bool_(),
    "in_support": pa.bool_(),
    "support_courses": pa.int32(),
    "popularity_rank": pa.int32(),
    "earlier_sessions": pa.int32(),
}
_MAY_BE_NULL = ("first_probabilities", "true_probability")
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=name in _MAY_BE_NULL) for name, kind in _COLUMNS.items()]
)


def query_facts(store: EpisodeStore, episode_set: str, pairs: Path) -> dict[str, pa.Array]:
    """The columns that are the same for every model.

    Args:
        store: the episodes.
        episode_set: such as "test".
        pairs: the folder of `preprocess`, whose vocabulary gives the ids.

    Returns:
        Column -> values [episodes * Q].

    Raises:
        UserError: the vocabulary is missing or damaged.
    """
    learner_ids = read_ids(pairs, "learner")
    episodes = store.episodes[episode_set]
    tasks, queries = np.arange(len(episodes)), store.query_size
    rows = store.query_pairs(episode_set, tasks)
    start, end = _steps(store, rows)
    course = store.courses[end]
    of_support = zip(*_steps(store, store.support_pairs(episode_set, tasks)), strict=True)
    shown = [_shown(store, *own) for own in of_support]
    of_query: dict[str, NDArray[Any]] = {
        "learner": np.repeat(episodes[:, 0], queries),
        "query": np.tile(np.arange(queries), len(episodes)),
        "true_course": course.ravel(),
        "prefix_length": store.pair_position[rows].ravel(),
        "in_prefix": _in_prefix(store, start.ravel(), end.ravel()),
        "in_support": np.concatenate(
            [np.isin(own, seen) for own, seen in zip(course, shown, strict=True)]
        ),
        "support_courses": np.repeat([len(seen) for seen in shown], queries),
        "popularity_rank": popularity_ranks(store)[course.ravel() - 1],
        "earlier_sessions": _earlier_sessions(store, episodes[:, 0], rows).ravel(),
    }
    facts = {name: pa.array(x, SCHEMA.field(name).type) for name, x in of_query.items()}
    ids = [learner_ids[learner] for learner in of_query["learner"]]
    return facts | {"learner_id": pa.array(ids, pa.string())}


def _steps(
    store: EpisodeStore, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each pair's session begins and where its next course stands in `store.courses`."""
    return store.session_start[store.pair_session[pairs]], store.label_step[pairs]


def _shown(
    store: EpisodeStore, start: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The different courses that some pairs show, in prefixes and as next courses."""
    if not len(start):
        return store.courses[:0]
    shown = [store.courses[a : b + 1] for a, b in zip(start, end, strict=True)]
    return np.unique(np.concatenate(shown))


def _in_prefix(
    store: EpisodeStore, start: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.bool_]:
    courses = store.courses
    found = [bool((courses[a:b] == courses[b]).any()) for a, b in zip(start, end, strict=True)]
    return np.array(found, dtype=bool)


def popularity_ranks(store: EpisodeStore) -> NDArray[np.int64]:
    """Rank of each course by how often it is the next one of a training pair: int64 [C].

    1 + the number of courses that are so more often; equals share a rank.
    """
    labels = store.courses[store.label_step[store.pairs_of("train")]]
    counts = np.bincount(labels, minlength=store.num_courses + 1)[1:]
    ascending = np.sort(counts)
    found: NDArray[np.int64] = 1 + len(counts) - np.searchsorted(ascending, counts, side="right")
    return found


def _earlier_sessions(
    store: EpisodeStore, learners: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Other sessions among all pairs of the learner before each query pair: int64 [tasks, Q]."""
    found = np.zeros(rows.shape, dtype=np.int64)
    for task, (learner, own) in enumerate(zip(learners, rows, strict=True)):
        begin = store.learner_start[learner]
        for query, row in enumerate(own):
            before = np.unique(store.pair_session[begin:row])
            found[task, query] = (before != store.pair_session[row]).sum()
    return found


def write_records(
    folder: Path, facts: dict[str, pa.Array], answers: Iterable[tuple[str, Answers]]
) -> dict[str, Ranks]:
    """Write a file a model, each as soon as the model has answered; the same bytes each time.

    Args:
        folder: appears whole or not at all.
        facts: of the queries, see `query_facts`.
        answers: models and their answers, in the order of `facts`.

    Returns:
        Model -> ranks [learners, Q].
    """
    ranks: dict[str, Ranks] = {}
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        for model, found in answers:
            table = _table(model, facts, found)
            # An open file, since of a path Arrow tells what the disk refuses in its own words.
            with (temporary / f"{model}.parquet").open("wb") as file:
                pq.write_table(table, file, compression="zstd", write_page_checksum=True)
            ranks[model] = found.ranks
    return ranks


def _table(model: str, facts: dict[str, pa.Array], found: Answers) -> pa.Table:
    own = {
        "model": pa.array([model] * found.ranks.size, pa.string()),
        "rank": pa.array(found.ranks.ravel(), pa.int32()),
        "first_courses": _lists(found.first),
    }
    for name in _MAY_BE_NULL:
        own[name] = pa.nulls(found.ranks.size, SCHEMA.field(name).type)
    if found.first_probabilities is not None and found.true_probability is not None:
        own["first_probabilities"] = _lists(found.first_probabilities)
        own["true_probability"] = pa.array(found.true_probability.ravel())
    columns = facts | own
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _lists(values: NDArray[Any]) -> pa.ListArray:
    """[..., n] -> lists of n."""
    rows, number = values.reshape(-1, values.shape[-1]), values.shape[-1]
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * number
    return pa.ListArray.from_arrays(offsets, rows.ravel())


def read_ranks(path: Path) -> Ranks:
    """Ranks [learners, Q] of one model, from its file.

    Raises:
        UserError: the file is missing or damaged.
    """
    table = read_parquet(path, ["query", "rank"])
    queries = int(np.max(table["query"].to_numpy(), initial=-1)) + 1
    ranks: Ranks = table["rank"].to_numpy().astype(np.int64).reshape(-1, max(queries, 1))
    return ranks
