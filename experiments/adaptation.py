"""What adaptation is worth on one data set: a learner's first and last pairs, over several seeds.

    python -m experiments.adaptation --pairs data/pairs --folder /tmp/adaptation --seeds 5

Settings are those of params.yaml, with courses that cannot come again left out of rankings and
losses (`seen_courses: auto`). The document's GRU alone is trained as the document says. A seed
draws the split of the learners, the initialisation and the sampling; with `--vary` the first alone
or the others alone, and what is not varied is that of seed 0. Baselines are trained once a
seed, and chosen on the validation learners' last pairs; what weighs others (blend, mixture) is
fitted for first and last apart. Trained models stay in the folder: a run that was stopped goes on
there, if settings and pairs are the same.

Beside the models stand the document's GRU ranked as the document does ("gru_as_is"), the mixture
told of the support pairs but without gradient steps ("mixture_without_steps"), and the mixture
adapted on another learner's support pairs, a negative control ("mixture_exchanged"); "strongest" is
the baseline that is best on the validation learners, which may be another in each seed, the pool
left aside. Each seed and position reads the test learners once. Without the mixture among
`--models` there are the baselines alone, and no tests: a baseline that is not to be a part of the
mixture is measured so.

Over several seeds a learner may be tested more than once: the tests over all seeds take the mean of
a learner's differences, one number a learner, where the rows are means over seeds. Holm's
correction is over the metrics shown there, and over all five metrics within a seed.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.command_line import add_folders, add_json, add_seeds, at_least, new_parser
from experiments.drawn import changes
from experiments.made_from import MADE_FROM, keep_settings
from mooc_maml.baselines.base import Baseline
from mooc_maml.baselines.trained import model_path
from mooc_maml.common.errors import main_guard
from mooc_maml.common.files import read_json, write_json
from mooc_maml.common.randomness import generator
from mooc_maml.composites.mixture import Mixture
from mooc_maml.composites.registry import COMPOSITES, MODELS
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import LearnerMetrics, Ranks, paired, strongest, with_holm
from mooc_maml.evaluation.control_names import WITHOUT_STEPS
from mooc_maml.evaluation.controls import (
    exchanged_supports,
    ranks_on_corrupted,
    told_of_others,
    without_steps,
)
from mooc_maml.evaluation.statistics import t_interval
from mooc_maml.ranking.query_ranks import ScoreFunction, learner_metrics, query_ranks, summary
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter, seen_filter
from mooc_maml.report.manifest import git_tree
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.baselines_section import ALWAYS
from mooc_maml.settings.composites_section import ADAPTED, OURS
from mooc_maml.settings.params import Params, load_params, parse_params

METRICS = ("HR@1", "HR@10", "NDCG@10")
FITTED = ("blend", *OURS)  # weigh others: fitted for each position
AGAINST = (  # what the mixture is tested against
    ADAPTED[1],
    WITHOUT_STEPS,
    "mixture_exchanged",
    "pool",
    "strongest",
    "gru",
    "gru_as_is",
)
COLUMNS = ("position", "model", "seeds", *METRICS, "half_width", "mixture_ahead_by", "p_holm")
ByLearner = tuple[NDArray[np.int64], dict[str, LearnerMetrics]]  # ids, and model -> metrics


def main() -> None:
    """Train, rank the test queries, and print a row a model."""
    arguments = _arguments()
    device = setup(load_params("params.yaml").hardware)
    runs: list[Row] = []
    pooled: dict[str, list[ByLearner]] = {"first": [], "last": []}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for run, by_learner in _one_seed(arguments, seed, device):
            runs.append(run)
            pooled[run["position"]].append(by_learner)
        tests = {position: _over_seeds(found) for position, found in pooled.items()}
        rows = [row for position in tests for row in _rows(runs, position, tests[position])]
        facts = machine(load_params("params.yaml").hardware.threads, device)
        report(rows, COLUMNS, facts, None)
        if arguments.json:
            about = {"machine": facts, **_origin(arguments)}
            write_json(arguments.json, about | {"rows": rows, "over_seeds": tests, "runs": runs})


def _origin(arguments: argparse.Namespace) -> Row:
    """Pairs and settings of the first seed (others differ in the seed); and src as git names it.

    That is the code that measures; models that lay in the folder may be of an earlier one.
    """
    return {
        "made_from": read_json(_folder(arguments, arguments.first_seed) / MADE_FROM),
        "measured_by": {"src": git_tree(Path(__file__).parents[1] / "src")},
    }


def _folder(arguments: argparse.Namespace, number: int) -> Path:
    folder: Path = arguments.folder / f"seed_{number}"
    return folder


def _one_seed(
    arguments: argparse.Namespace, number: int, device: torch.device
) -> list[tuple[Row, ByLearner]]:
    """Both positions of one seed."""
    folder = _folder(arguments, number)
    base, models = load_params("params.yaml"), arguments.models
    drawn = changes(base, base.seed + number, arguments.vary)
    keep_settings(folder, arguments.pairs, _params(base, drawn, "last", models))
    parts: dict[str, Baseline] = {}
    found = []
    for position in ("last", "first"):
        params = _params(base, drawn, position, models)
        store = build_episodes(read_steps(arguments.pairs), params)[0]
        own = dict(parts)
        for name in (*params.baselines.models, *params.composites.models):
            if name not in own:
                where = folder / position if name in FITTED else folder
                own[name] = _trained(name, where, store, params, device, own)
                if name not in FITTED:
                    parts[name] = own[name]
        found.append(_measured(own, store, params, device))
    return found


def _params(base: Params, drawn: Mapping[str, int], position: str, models: list[str]) -> Params:
    """The settings of one seed and position; baselines in the order of their table."""
    changed = base.model_dump()
    changed["seed"] = drawn["seed"]
    changed["episodes"] |= {"position": position, "split_seed": drawn["episodes.split_seed"]}
    changed["evaluation"]["seen_courses"] = "auto"
    named = [name for name in MODELS if name in models]
    changed["composites"]["models"] = [name for name in named if name in COMPOSITES]
    changed["baselines"]["models"] = [name for name in named if name not in COMPOSITES]
    return parse_params(changed)


def _trained(
    name: str,
    folder: Path,
    store: EpisodeStore,
    params: Params,
    device: torch.device,
    parts: Mapping[str, Baseline],
) -> Baseline:
    """One baseline, from its file if it is there."""
    kind = MODELS[name]
    path = model_path(folder, kind)
    if not path.exists():
        if name == "gru":  # the document's knows nothing of seen courses
            evaluation = params.evaluation.model_copy(update={"seen_courses": "keep"})
            params = params.model_copy(update={"evaluation": evaluation})
        path.parent.mkdir(parents=True, exist_ok=True)
        kind.train(store, params, device, print, parts).write(path)
    return kind.read(path, store.num_courses, device, parts)


def _measured(
    models: Mapping[str, Baseline], store: EpisodeStore, params: Params, device: torch.device
) -> tuple[Row, ByLearner]:
    """Test metrics of each model, and the mixture against others, Holm over all of it."""
    seen, at_once = seen_filter(store, params), params.hardware.tasks_at_once
    validation = {}

    def ranked(score: ScoreFunction, episode_set: str, left_out: SeenFilter = seen) -> Ranks:
        score = left_out.without(score)
        return query_ranks(score, store, episode_set, tasks_at_once=at_once, device=device)

    ranks = {name: ranked(model.scores, "test") for name, model in models.items()}
    for name, model in models.items():
        if name not in OURS:
            validation[name] = summary(ranked(model.scores, "validation"))
    ranks["gru_as_is"] = ranked(models["gru"].scores, "test", NONE_LEFT_OUT)
    mixture = models.get("mixture")
    if isinstance(mixture, Mixture):
        ranks[WITHOUT_STEPS] = ranked(without_steps(mixture), "test")
        corrupt = exchanged_supports(store, generator(params.seed, "control exchanged", 0))
        ranks["mixture_exchanged"] = ranks_on_corrupted(
            told_of_others(mixture), corrupt, store, seen, tasks_at_once=at_once, device=device
        )
    values: dict[str, LearnerMetrics] = {
        name: learner_metrics(found) for name, found in ranks.items()
    }
    best = strongest(validation, params.evaluation.validation_metric)
    values["strongest"] = values[best]
    row = {
        "seed": params.seed,
        "split_seed": params.episodes.split_seed,
        "position": params.episodes.position,
        "learners": len(ranks["gru"]),
        "queries_told_of_another_session": told_of_another_session(store),
        "strongest_baseline": best,
        "validation": validation,
        "test": {name: summary(found) for name, found in ranks.items()},
        "comparisons": _comparisons(values, params.seed),
    }
    kept = {name: values[name] for name in ("mixture", *AGAINST) if name in values}
    return row, (store.episodes["test"][:, 0], kept)


def _comparisons(values: Mapping[str, LearnerMetrics], seed: int) -> dict[str, Any]:
    """The mixture beside each of the others, and what being told alone gives; Holm over all."""
    if "mixture" not in values:
        return {}
    pairs = [("mixture", name) for name in AGAINST if name in values]
    pairs.append((WITHOUT_STEPS, ADAPTED[1]))
    return with_holm({f"{a}_vs_{b}": paired(values[a], values[b], seed) for a, b in pairs})


def told_of_another_session(store: EpisodeStore) -> float:
    """Share of the test queries with a support pair of another session, unknown to the prefix."""
    tasks = np.arange(len(store.episodes["test"]))
    support, query = (
        store.pair_session[pairs_of("test", tasks)]
        for pairs_of in (store.support_pairs, store.query_pairs)
    )
    return float((support[:, None, :] != query[:, :, None]).any(-1).mean())


def _over_seeds(runs: list[ByLearner]) -> dict[str, Any]:
    """The mixture against others, every learner once: the mean over the seeds that test it."""
    tested = np.concatenate([ids for ids, _ in runs])
    learners, place = np.unique(tested, return_inverse=True)
    times = np.bincount(place)

    def mean_by_learner(model: str) -> LearnerMetrics:
        return {
            metric: np.bincount(place, np.concatenate([own[model][metric] for _, own in runs]))
            / times
            for metric in METRICS
        }

    values = {model: mean_by_learner(model) for model in runs[0][1]}
    return {"learners": len(learners), "comparisons": _comparisons(values, 0)}


def _rows(runs: list[Row], position: str, tests: Mapping[str, Any]) -> list[Row]:
    """Means over seeds, with the t-interval's half-width; the test is of NDCG@10."""
    runs = [run for run in runs if run["position"] == position]
    rows = []
    for model in (*runs[0]["test"], "strongest"):
        own = [tested(run, model) for run in runs]
        values = {metric: np.array([found[metric] for found in own]) for metric in METRICS}
        spread = t_interval(values["NDCG@10"])
        found = tests["comparisons"].get(f"mixture_vs_{model}", [])
        test: Row = next((row for row in found if row["metric"] == "NDCG@10"), {})
        rows.append(
            {
                "position": position,
                "model": model,
                "seeds": len(runs),
                **{metric: float(x.mean()) for metric, x in values.items()},
                "half_width": spread.high - spread.mean if len(runs) > 1 else None,
                "mixture_ahead_by": test.get("difference"),
                "p_holm": test.get("p_holm"),
            }
        )
    return sorted(rows, key=lambda row: -row["NDCG@10"])


def tested(run: Row, model: str) -> dict[str, float]:
    """Test metrics of a model in a run; "strongest" is the baseline that it was there."""
    name = run["strongest_baseline"] if model == "strongest" else model
    found: dict[str, float] = run["test"][name]
    return found


def _arguments() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_folders(parser)
    add_seeds(parser)
    parser.add_argument("--first-seed", type=at_least(0), default=0, help="number of the first")
    counted = ["random", "popularity", "repeat", "markov", "item_knn", "v_sknn", "gru"]
    told = ["gru_with_history", "gru_tuned_with_history"]
    models = [*counted, "gru_tuned", *told, *FITTED]
    parser.add_argument(
        "--models", nargs="+", choices=list(MODELS), default=models, help="which baselines"
    )
    add_json(parser)
    arguments = parser.parse_args()
    needed = {*ALWAYS, *(ADAPTED if set(ADAPTED) & set(arguments.models) else ())}
    if missing := needed - set(arguments.models):
        parser.error(f"--models: {', '.join(sorted(missing))} cannot be left out")
    return arguments


if __name__ == "__main__":
    main_guard(main)
