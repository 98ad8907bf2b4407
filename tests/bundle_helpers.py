"""A bundle of a run so small that it is made in seconds; synthetic, as its name says."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import torch
from episode_helpers import merged, random_sessions, steps, write_pairs
from training_helpers import STORE, run, tiny_params

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import model_path, train_models
from mooc_maml.composites.registry import COMPOSITES
from mooc_maml.evaluation.comparison import compare
from mooc_maml.evaluation.contenders import Contenders, read_contenders
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.preprocess.account import BadRecords, Dropped, PreprocessResult
from mooc_maml.recommend.export import Run, export_bundle
from mooc_maml.settings.params import Params

CPU = torch.device("cpu")
NAMES = ("random", "popularity", "repeat", "markov", "v_sknn", "gru", "gru_with_history")
MADE_OF = ("gru_fine_tuned", "pool", "mixture", "mixture_zero_shot")
IDS = [f"course-{number}" for number in range(1, 13)]
TITLES = {id: f"Title {id.upper()}" for id in IDS[:-1]}


class Made(NamedTuple):
    """A bundle, and the run that it was made of."""

    folder: Path
    contenders: Contenders
    run: Run


def small_params(**changes: object) -> Params:
    settings = {
        "num_meta_iterations": 4,
        "hardware": {"precision": "float32"},
        "baselines": {"models": NAMES, "gru": {"epochs": 1}},
        "composites": {
            "models": MADE_OF,
            "mixture": {"updates": 2, "learners": 4},
            "gru_fine_tuned": {"rates": [0.1], "steps": [2]},
        },
    }
    return tiny_params(**merged(settings, changes))


def make_bundle(folder: Path, params: Params) -> Made:
    """Train everything, test it, and export it."""
    models = folder / "models"
    parts = {}
    for table, own in ((BASELINES, "baselines"), (COMPOSITES, "composites")):
        names = getattr(params, own).models
        trained = train_models(table, names, STORE, params, CPU, lambda _: None, None, parts)
        for name, model in list(trained):
            model.write(model_path(models / own, table[name]))
            parts[name] = model
    keep_model(models / "maml", run(MetaTrainer(STORE, params, CPU)))
    folders = {"baselines": models / "baselines", "composites": models / "composites"}
    contenders = read_contenders(params, STORE, **folders, model=models / "maml")
    ranks = {name: found.ranks for name, found in contenders.answers("test")}
    tested = compare(ranks, contenders.validation(), params, STORE, contenders.ranker.seen)
    write_pairs(folder / "pairs", steps(random_sessions(60)))
    whole = Run(params, STORE, folder / "pairs", models, tested, _preprocessed(), TITLES)
    export_bundle(folder / "bundle", whole)
    torch.use_deterministic_algorithms(False)
    return Made(folder / "bundle", contenders, whole)


@cache
def made() -> Made:
    """One for all tests of a process; not to be changed."""
    return make_bundle(Path(mkdtemp(prefix="bundle-")), small_params())


def _preprocessed() -> PreprocessResult:
    numbers = {
        name: 0 for name, field in PreprocessResult.model_fields.items() if field.annotation is int
    }
    return PreprocessResult(
        **numbers,
        source="synthetic",
        synthetic=True,
        files=["a"],
        dropped=Dropped(bad_records=0, event_kind=0, duplicates=0, short_sessions=0),
        bad_records=BadRecords(by_reason={}, first=[]),
        raw_sha256={"a": "0" * 64},
        pairs_sha256={"steps.parquet": "1" * 64},
    )


def sessions_before_query(task: int) -> tuple[list[list[str]], int]:
    """What a test learner opened before the first query pair, as ids; and its next course."""
    learner, start = STORE.episodes["test"][task]
    query = start + STORE.support_size
    rows = range(STORE.learner_start[learner], query + 1)
    last = {int(STORE.pair_session[row]): int(STORE.pair_position[row]) for row in rows}
    found = []
    for session, position in last.items():
        first = STORE.session_start[session]
        end = position + (0 if session == STORE.pair_session[query] else 1)
        found.append([IDS[course - 1] for course in STORE.courses[first : first + end]])
    return found, int(STORE.courses[STORE.label_step[query]])
