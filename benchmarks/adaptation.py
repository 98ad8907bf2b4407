"""What adaptation is worth on one data set: a learner's first and last pairs, over several seeds.

    python -m benchmarks.adaptation --pairs data/pairs --folder /tmp/adaptation --seeds 5

Settings are those of params.yaml, with courses that cannot come again left out of rankings and
losses (`taken_courses: auto`). The document's GRU alone is trained as the document says, and is
also ranked so ("gru_as_is"). A seed draws the split of the learners, the initialisation and the
sampling. Baselines are trained once a seed, and chosen on the validation learners' last pairs;
what weighs others (blend, mixture) is fitted for first and last apart. Trained models stay in the
folder: a run that was stopped goes on there.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Row, machine, report
from mooc_maml.baseline_params import ADAPTED, BaselineName
from mooc_maml.baselines import BASELINES, baseline_path
from mooc_maml.baselines.base import Baseline
from mooc_maml.episode_store import EpisodeStore
from mooc_maml.episodes import build_episodes
from mooc_maml.errors import main_guard
from mooc_maml.evaluation import learner_metrics, query_ranks, summary
from mooc_maml.files import write_json
from mooc_maml.hardware import setup
from mooc_maml.params import Params, load_params, parse_params
from mooc_maml.results import Ranks, paired, strongest, with_holm
from mooc_maml.statistics import t_interval
from mooc_maml.steps import read_steps
from mooc_maml.taken import NONE_LEFT_OUT, taken_courses

METRICS = ("HR@1", "HR@10", "NDCG@10")
FITTED = ("blend", *ADAPTED)  # weigh others: fitted for each position
COLUMNS = ("position", "model", "seeds", *METRICS, "half_width", "p_of_mixture")


def main() -> None:
    """Train, rank the test queries, and print a row a model."""
    arguments = _arguments()
    device = setup(load_params("params.yaml").hardware)
    runs = []
    for seed in range(arguments.seeds):
        runs += _one_seed(arguments, seed, device)
        rows = [row for position in ("first", "last") for row in _rows(runs, position)]
        facts = machine(load_params("params.yaml").hardware.threads, device)
        report(rows, COLUMNS, facts, None)
        if arguments.json:
            write_json(arguments.json, {"machine": facts, "rows": rows, "runs": runs})


def _one_seed(arguments: argparse.Namespace, number: int, device: torch.device) -> list[Row]:
    """Both positions of one seed."""
    folder = arguments.folder / f"seed_{number}"
    base = load_params("params.yaml")
    parts: dict[str, Baseline] = {}
    found = []
    for position in ("last", "first"):
        params = _params(base, number, position, arguments.models)
        store = build_episodes(read_steps(arguments.pairs), params)[0]
        own = dict(parts)
        for name in params.baselines.models:
            if name not in own:
                where = folder / position if name in FITTED else folder
                own[name] = _trained(name, where, store, params, device, own)
                if name not in FITTED:
                    parts[name] = own[name]
        found.append({"seed": params.seed, **_measured(own, store, params, device)})
    return found


def _params(base: Params, number: int, position: str, models: list[BaselineName]) -> Params:
    """The settings of one seed and position; baselines in the order of their table."""
    changed = base.model_dump()
    changed["seed"] = base.seed + number
    changed["episodes"] |= {"position": position, "split_seed": None}
    changed["evaluation"]["taken_courses"] = "auto"
    changed["baselines"]["models"] = [name for name in BASELINES if name in models]
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
    kind, path = BASELINES[name][0], baseline_path(folder, name)
    if not path.exists():
        if name == "gru":  # the document's knows nothing of taken courses
            evaluation = params.evaluation.model_copy(update={"taken_courses": "as_is"})
            params = params.model_copy(update={"evaluation": evaluation})
        path.parent.mkdir(parents=True, exist_ok=True)
        kind.train(store, params, device, print, parts).write(path)
    return kind.read(path, store.num_courses, device, parts)


def _measured(
    models: Mapping[str, Baseline], store: EpisodeStore, params: Params, device: torch.device
) -> Row:
    """Test metrics of each model, and the mixture against the others, Holm over all of it."""
    taken, ranks = taken_courses(store, params), dict[str, Ranks]()
    at_once, validation = params.hardware.tasks_at_once, {}
    for name, model in models.items():
        score = taken.without(model.scores)
        ranks[name] = query_ranks(score, store, "test", tasks_at_once=at_once, device=device)
        if name not in ADAPTED:
            found = query_ranks(score, store, "validation", tasks_at_once=at_once, device=device)
            validation[name] = summary(found)
    as_is = NONE_LEFT_OUT.without(models["gru"].scores)
    ranks["gru_as_is"] = query_ranks(as_is, store, "test", tasks_at_once=at_once, device=device)
    values = {name: learner_metrics(found) for name, found in ranks.items()}
    best = strongest(validation, params.evaluation.validation_metric)
    others = [*dict.fromkeys((ADAPTED[1], best, "gru", "gru_as_is"))]
    against = {name: paired(values["mixture"], values[name], params.seed) for name in others}
    return {
        "position": params.episodes.position,
        "learners": len(ranks["gru"]),
        "strongest_baseline": best,
        "validation": validation,
        "test": {name: summary(found) for name, found in ranks.items()},
        "mixture_against": with_holm(against),
    }


def _rows(runs: list[Row], position: str) -> list[Row]:
    """Means over seeds; p is the largest of NDCG@10 over seeds, after Holm's correction."""
    runs = [run for run in runs if run["position"] == position]
    rows = []
    for model in runs[0]["test"]:
        values = {m: np.array([run["test"][model][m] for run in runs]) for m in METRICS}
        spread = t_interval(values["NDCG@10"])
        p = [
            row["p_holm"]
            for run in runs
            for row in run["mixture_against"].get(model, [])
            if row["metric"] == "NDCG@10"
        ]
        rows.append(
            {
                "position": position,
                "model": model,
                "seeds": len(runs),
                **{metric: float(x.mean()) for metric, x in values.items()},
                "half_width": spread.high - spread.mean if len(runs) > 1 else None,
                "p_of_mixture": max(p) if p else None,
            }
        )
    return sorted(rows, key=lambda row: -row["NDCG@10"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What adaptation is worth on one data set.")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of preprocess")
    parser.add_argument("--folder", type=Path, required=True, help="folder for trained models")
    parser.add_argument("--seeds", type=int, default=1)
    counted = ["popularity", "repeat", "markov", "item_knn", "v_sknn", "gru"]
    models = [*counted, "gru_tuned", *FITTED]
    parser.add_argument("--models", nargs="+", choices=list(BASELINES), default=models)
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
