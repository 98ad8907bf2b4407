"""What the records of every query tell beside the metrics, in one result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_parquet
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.about import about
from mooc_maml.evaluation.analysis_schema import AnalysisResult
from mooc_maml.evaluation.beyond_accuracy import beyond_accuracy
from mooc_maml.evaluation.calibration import Stated, calibration
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
_STATED = ("first_probabilities", "true_probability")
_COLUMNS = ("query", "rank", "first_courses", *_STATED, *_FACTS)


class Answered(NamedTuple):
    """Ranks [learners, Q] and lists [learners, Q, N] of one model; None: it states no law."""

    ranks: NDArray[np.int64]
    lists: NDArray[np.int64]
    stated: Stated | None


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
        lists = _lists(table["first_courses"], ranks).astype(np.int64)
        answers[path.stem] = Answered(ranks, lists, _stated(table, ranks))
        facts = {name: table[name].to_numpy() for name in _FACTS}
    return answers, facts


def _stated(table: pa.Table, ranks: NDArray[np.int64]) -> Stated | None:
    of_lists, of_true = (table[name] for name in _STATED)
    if of_true.null_count:
        return None
    true = of_true.to_numpy().astype(np.float64).reshape(ranks.shape)
    return Stated(_lists(of_lists, ranks).astype(np.float64), true)


def _lists(column: pa.ChunkedArray, ranks: NDArray[np.int64]) -> NDArray[Any]:
    """Lists of N -> [learners, Q, N]."""
    return column.combine_chunks().flatten().to_numpy().reshape(*ranks.shape, -1)  # type: ignore[no-any-return]


def analyse(records: Path, store: EpisodeStore, pairs: Path, params: Params) -> AnalysisResult:
    """Where adaptation helps, what lists and probabilities are worth, a few learners to look at.

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
        calibration=[
            calibration(name, found.ranks, found.stated, params.seed)
            for name, found in answers.items()
            if found.stated is not None
        ],
    )


def _examples(
    store: EpisodeStore, courses: list[str], answers: Mapping[str, Answered]
) -> list[Any]:
    after, before = ADAPTING[0]
    if not {after, before} <= set(answers):
        return []
    return example_learners(store, courses, after, answers[before][:2], answers[after][:2])
