"""The published table on MARS explicit, repeated with its own settings.

    python -m experiments.mars_published mars_explicit_ratings_en.csv --splits 20

The file is that of Harvard Dataverse, doi:10.7910/DVN/BMY3UD. An independent study published one
split into 40/20/40 by learner, K = 5, Q = 10, with 17 test learners. Only 32 of the 378 learners
have 15 pairs, so a split holds 12.9 of them in its test on average, and which ones they are moves
every figure by points. The published split is not known. So the table is repeated on many splits:
their standard deviation is the sampling error of a single split, and a published figure is one
more draw. z = (published - mean of ours) / (deviation x sqrt(1 + 1 / splits)); where the two mean
the same, |z| is above 2 for about one figure in twenty.
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from experiments.command_line import add_json, add_threads, at_least, new_parser
from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import train_models
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.session_steps import SessionSteps, read_steps
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.train import MetaTrainer, meta_train
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.ranking.query_ranks import ScoreFunction, query_ranks, summary
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import Params, parse_params

METRICS = ("HR@10", "NDCG@10", "MRR")
PUBLISHED: dict[str, tuple[float, float, float]] = {
    "popularity": (0.0412, 0.0200, 0.0214),
    "v_sknn": (0.3882, 0.3406, 0.3281),  # there: session-kNN
    "gru": (0.2824, 0.2299, 0.2195),
    "maml": (0.1765, 0.1555, 0.1536),
}
COLUMNS = ("model", "metric", "splits", "published", "ours", "deviation", "z")
_COUNTED = {
    "sessions": 561,
    "events_in_sessions": 2894,
    "learners": 378,
    "items": 745,
    "pairs": 2333,
}


def main() -> None:
    """Count, train on every split, compare."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    found: dict[str, list[dict[str, float]]] = {}
    test_learners = []
    steps = _steps(arguments)
    for seed in range(arguments.splits):
        params = settings(arguments, seed)
        store, _ = build_episodes(steps, params)
        test_learners.append(len(store.episodes["test"]))
        with_maml = seed < arguments.maml_splits
        for name, metrics in _figures(store, params, with_maml).items():
            found.setdefault(name, []).append(metrics)
        print(f"split {seed + 1}: {test_learners[-1]} test learners", file=sys.stderr)
    print(
        f"test learners by split: {np.mean(test_learners):.1f} on average, "
        f"{min(test_learners)} to {max(test_learners)}; published: 17"
    )
    report(_rows(found), COLUMNS, machine(arguments.threads, torch.device("cpu")), arguments.json)


def _steps(arguments: argparse.Namespace) -> SessionSteps:
    """Cut the file into pairs and make sure that they are as many as were published.

    Raises:
        UserError: they are not.
    """
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs"
        account = preprocess(arguments.file.parent, pairs, settings(arguments, 0))
        counted = {name: account[name] for name in _COUNTED}
        if counted != _COUNTED:
            raise UserError(f"{arguments.file}: found {counted}, published {_COUNTED}")
        return read_steps(pairs)


def settings(arguments: argparse.Namespace, seed: int) -> Params:
    """The study's settings; all that is not said here is as in params.yaml."""
    content: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    table = {"learner": "user_id", "item": "item_id", "time": "created_at", "time_format": "iso"}
    changes: dict[str, dict[str, Any]] = {
        "data": {
            "source": "table",
            "files": arguments.file.name,
            "event_prefixes": [],
            "table": {**table, "event": None, "session": None},
        },
        "episodes": {
            **{"support_size": 5, "query_size": 10, "position": "last"},
            **{"train_fraction": 0.4, "validation_fraction": 0.2, "test_fraction": 0.4},
        },
        "ablations": {"support_sizes": [5]},
        "baselines": {
            "models": ["popularity", "v_sknn", "gru"],
            "gru": {"epochs": 10, "batch_size": 256, "learning_rate": 0.001},
            "v_sknn": {"neighbours": 100},
        },
        "composites": {"models": []},
        "evaluation": {"seen_courses": "keep"},
        "hardware": {"device": "cpu", "threads": arguments.threads, "processes": 1},
    }
    for section, values in changes.items():
        content[section] |= values
    content |= {"seed": seed, "num_meta_iterations": arguments.maml_iterations}
    return parse_params(content)


def _figures(store: EpisodeStore, params: Params, with_maml: bool) -> dict[str, dict[str, float]]:
    """Model -> metrics over the test learners of one split."""
    device = setup(params.hardware)
    names = params.baselines.models
    trained = train_models(BASELINES, names, store, params, device, lambda line: None)
    scorers: dict[str, ScoreFunction] = {name: baseline.scores for name, baseline in trained}
    if with_maml:
        # The study's 32 learners a meta-batch are more than have an episode here: take them all.
        most = min(params.meta_batch_size, len(store.task_ranges.start))
        trainer = MetaTrainer(store, params.model_copy(update={"meta_batch_size": most}), device)
        for _ in meta_train(trainer, lambda evaluation: None):
            pass
        scorers["maml"] = trainer.scores(trainer.best)
    at_once = params.hardware.tasks_at_once
    return {
        name: summary(query_ranks(score, store, "test", tasks_at_once=at_once, device=device))
        for name, score in scorers.items()
    }


def _rows(found: dict[str, list[dict[str, float]]]) -> list[Row]:
    rows: list[Row] = []
    for name, splits in found.items():
        for metric, published in zip(METRICS, PUBLISHED[name], strict=True):
            values = np.array([split[metric] for split in splits])
            deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
            error = deviation * math.sqrt(1 + 1 / len(values))
            z = (published - values.mean()) / error
            numbers = (len(values), published, float(values.mean()), deviation, float(z))
            rows.append(dict(zip(COLUMNS, (name, metric, *numbers), strict=True)))
    return rows


def _arguments() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("file", type=Path, help="mars_explicit_ratings_en.csv")
    parser.add_argument("--splits", type=at_least(2), default=20, help="how many")
    parser.add_argument("--maml-splits", type=at_least(0), default=5, help="of them, with MAML")
    parser.add_argument(
        "--maml-iterations", type=at_least(1), default=2000, help="meta-updates; the study: 10000"
    )
    add_threads(parser)
    add_json(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
