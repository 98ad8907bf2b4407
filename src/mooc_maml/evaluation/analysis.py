"""What the records of every query tell beside the metrics, in one result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_parquet
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.about import about
from mooc_maml.evaluation.analysis_schema import AnalysisResult
from mooc_maml.evaluation.beyond_accuracy import beyond_accuracy
from mooc_maml.evaluation.comparison import ADAPTING
from mooc_maml.evaluation.example_learners import example_learners
from mooc_maml.evaluation.popularity import opened
from mooc_maml.evaluation.vocabulary import read_ids
from mooc_maml.evaluation.where import values_of, where_it_helps
from mooc_maml.settings.params import Params

_FACTS = (
    *("true_course", "prefix_length", "in_prefix", "in_support", "support_courses"),
    "earlier_sessions",
)
_COLUMNS = ("query", "rank", "first_courses", *_FACTS)


class Answered(NamedTuple):
    """Ranks [learners, Q] and lists [learners, Q, N] of one model."""

    ranks: NDArray[np.int64]
    lists: NDArray[np.int64]


def read_answers(folder: Path) -> tuple[dict[str, Answered], dict[str, NDArray[Any]]]:
    """Every model's answers, in order of names, and the facts of the queries [learners * Q].

    Raises:
        UserError: there are no records, or one file is damaged.
    """
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise UserError(f"{folder}: no records of queries; run `dvc repro test` to make them")
    answers, facts = {}, dict[str, NDArray[Any]]()
    for path in paths:
        table = read_parquet(path, list(_COLUMNS))
        queries = int(np.max(table["query"].to_numpy(), initial=-1)) + 1
        ranks = table["rank"].to_numpy().astype(np.int64).reshape(-1, max(queries, 1))
        first = table["first_courses"].combine_chunks().flatten().to_numpy().astype(np.int64)
        answers[path.stem] = Answered(ranks, first.reshape(*ranks.shape, -1))
        facts = {name: table[name].to_numpy() for name in _FACTS}
    return answers, facts


def analyse(records: Path, store: EpisodeStore, pairs: Path, params: Params) -> AnalysisResult:
    """Where adaptation helps, what the lists are like, and a few learners to look at.

    Args:
        records: the folder of `write_records`.
        store: the episodes.
        pairs: the folder of `preprocess`, whose vocabulary gives the courses' ids.
        params: the settings.
    """
    answers, facts = read_answers(records)
    popular = opened(store)
    true = facts["true_course"].astype(np.int64).reshape(-1, store.query_size)
    compared = [pair for pair in ADAPTING if set(pair) <= set(answers)]
    content = about(params, store)
    return AnalysisResult(
        **content,
        where=where_it_helps(
            {name: found.ranks for name, found in answers.items()},
            compared,
            values_of(facts, popular.group),
            params.seed,
        ),
        beyond_accuracy=[
            beyond_accuracy(name, found.lists, true, popular) for name, found in answers.items()
        ],
        examples=_examples(store, read_ids(pairs, "course"), answers),
    )


def _examples(
    store: EpisodeStore, courses: list[str], answers: Mapping[str, Answered]
) -> list[Any]:
    after, before = ADAPTING[0]
    if not {after, before} <= set(answers):
        return []
    return example_learners(store, courses, after, answers[before], answers[after])
