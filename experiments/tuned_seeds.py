"""The second meta-model over several seeds, beside the GRU adapted and told in other ways.

    python -m experiments.tuned_seeds --pairs data/pairs --folder DIR --json FILE

For each seed, which draws the learner split, initialisation and sampling: the GRU, the GRU with
history and the fine-tuned GRU are trained, and the settings `tuned` of params.yaml meta-trained
from that GRU. Then the test learners are read once. Differences of few-shot are tested over
learners (each once: a learner whom several seeds test with the mean over them; permutations, Holm
over the comparisons of a metric) and over seeds (Student's t, an interval). What is trained stays
in the folder, so that a run that was stopped goes on.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from experiments.command_line import add_folders, add_json, add_seeds, new_parser
from experiments.drawn import changes
from experiments.made_from import keep_settings
from mooc_maml.baselines.base import Baseline
from mooc_maml.baselines.trained import model_path
from mooc_maml.common.errors import main_guard
from mooc_maml.common.files import write_json
from mooc_maml.composites.registry import MODELS
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import LearnerMetrics, paired, with_holm
from mooc_maml.evaluation.control_names import TUNED, TUNED_START, TUNED_WITHOUT_STEPS
from mooc_maml.evaluation.ranker import Ranker
from mooc_maml.evaluation.statistics import t_interval
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.model import model_path as meta_path
from mooc_maml.meta.model import read_meta_model
from mooc_maml.meta.run import read_start, warm_start
from mooc_maml.meta.train import MetaTrainer, meta_train
from mooc_maml.ranking.query_ranks import ScoreFunction, learner_metrics, summary
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.report.inputs import label_of
from mooc_maml.report.words import percent, points
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import Params, load_params, parse_params

TRAINED = ("popularity", "repeat", "gru", "gru_with_history", "gru_fine_tuned")
AGAINST = (  # what few-shot is tested against
    "gru",
    "gru_with_history",
    "gru_fine_tuned",
    "repeat",
    TUNED_START,
    TUNED_WITHOUT_STEPS,
    TUNED[1],
)
METRICS = ("HR@1", "HR@10", "NDCG@10")
Seed = tuple[NDArray[np.int64], dict[str, LearnerMetrics]]  # test learners; model -> metrics


def main(
    pairs: Path, folder: Path, seeds: int, vary: str, json: Path | None, models: list[str]
) -> None:
    """Train what is missing; print and write what came out after each seed."""
    base, found, rows = load_params("params.yaml"), list[Seed](), list[dict[str, Any]]()
    keep_settings(folder, pairs, base)
    for seed in range(1, seeds + 1):
        params = _params(base, seed, vary, models)
        row, learners = _one_seed(params, pairs, folder / f"seed_{seed}")
        rows.append(row)
        found.append(learners)
        print(f"seed {seed}: " + _words(row["test"]), flush=True)
        if json is not None:
            about = {"tuned": base.tuned, "vary": vary, "seeds": rows}
            write_json(json, about | over_seeds(found))


def _params(base: Params, seed: int, vary: str, models: list[str]) -> Params:
    drawn, content = changes(base, seed, vary), base.model_dump()
    content["seed"] = drawn["seed"]
    content["episodes"] |= {"split_seed": drawn["episodes.split_seed"]}
    content["hardware"] |= {"threads": 1}
    content["baselines"]["models"] = [name for name in TRAINED[:-1] if name in models]
    content["composites"]["models"] = [name for name in TRAINED[-1:] if name in models]
    return parse_params(content)


def _one_seed(params: Params, pairs: Path, folder: Path) -> tuple[dict[str, Any], Seed]:
    """Metrics of all models on the validation and the test learners of one seed."""
    device, store = setup(params.hardware), build_episodes(read_steps(pairs), params)[0]
    models = _baselines(params, store, folder, device)
    scorers: dict[str, ScoreFunction] = {name: model.scores for name, model in models.items()}
    scorers |= _tuned(params.of_tuned, store, folder, device)
    at_once = params.hardware.tasks_at_once
    ranker = Ranker(store, seen_filter(store, params), device, at_once)
    ranks = {name: ranker.ranks(name, score, "test") for name, score in scorers.items()}
    row = {
        "seed": params.seed,
        "learners": len(store.episodes["test"]),
        "validation": {n: summary(ranker.ranks(n, s, "validation")) for n, s in scorers.items()},
        "test": {name: summary(own) for name, own in ranks.items()},
    }
    values: dict[str, LearnerMetrics] = {n: learner_metrics(own) for n, own in ranks.items()}
    return row, (store.episodes["test"][:, 0], values)


def _baselines(
    params: Params, store: EpisodeStore, folder: Path, device: torch.device
) -> dict[str, Baseline]:
    models: dict[str, Baseline] = {}
    for name in (*params.baselines.models, *params.composites.models):
        path = model_path(folder, MODELS[name])
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            MODELS[name].train(store, params, device, print, models).write(path)
        models[name] = MODELS[name].read(path, store.num_courses, device, models)
    return models


def _tuned(
    own: Params, store: EpisodeStore, folder: Path, device: torch.device
) -> dict[str, ScoreFunction]:
    """The second meta-model, before and after adaptation, told, and its own start."""
    gru, place, seen = folder / "gru.pth", folder / "tuned", seen_filter(store, own)
    if not meta_path(place, own).exists():
        trainer = MetaTrainer(store, own, device, start=warm_start(own, gru, store.num_courses))
        for _ in meta_train(trainer, lambda _: None):
            pass
        place.mkdir(parents=True, exist_ok=True)
        keep_model(place, trainer)
    meta = read_meta_model(place, own, store.num_courses, seen)
    few, zero = TUNED
    found = {few: meta.scores(), zero: meta.scores(0), TUNED_WITHOUT_STEPS: meta.scores(0, True)}
    start = read_start(gru, own, store.num_courses, seen)
    return found if start is None else found | {TUNED_START: start.scores()}


def over_seeds(found: Sequence[Seed]) -> dict[str, Any]:
    """Few-shot minus each other: of learners, each once, and of the seeds' means."""
    few = TUNED[0]
    others = [name for name in AGAINST if name in found[0][1]]
    ids, place = np.unique(np.concatenate([own for own, _ in found]), return_inverse=True)
    times = np.bincount(place)

    def each_once(model: str) -> LearnerMetrics:
        def mean(metric: str) -> NDArray[np.float64]:
            values = np.concatenate([own[model][metric] for _, own in found])
            return np.bincount(place, values) / times

        return {metric: mean(metric) for metric in METRICS}

    values = {name: each_once(name) for name in (few, *others)}
    tests = with_holm({name: paired(values[few], values[name], 0) for name in others})
    spread = {name: {m: _spread(found, few, name, m) for m in METRICS} for name in others}
    return {"test_learners": len(ids), "over_learners": tests, "over_seeds": spread}


def _spread(found: Sequence[Seed], one: str, other: str, metric: str) -> dict[str, Any]:
    each = np.array([float((own[one][metric] - own[other][metric]).mean()) for _, own in found])
    if len(each) == 1:
        return {"each": each.tolist()}
    mean, low, high = t_interval(each)
    p = float(ttest_1samp(each, 0.0).pvalue)
    return {"each": each.tolist(), "mean": mean, "low": low, "high": high, "p": p}


def seeds_table(measured: Mapping[str, Any]) -> str:
    """Markdown: NDCG@10 of each model on the test learners, and few-shot minus each.

    Args:
        measured: the content of the JSON file that `main` writes.
    """
    seeds, few = measured["seeds"], TUNED[0]
    names = sorted(seeds[0]["test"], key=lambda name: -_mean(seeds, "test", name))
    lines = [
        ["", "validation", "test", "few-shot ahead by", "over seeds", "p, learners", "p, seeds"],
        ["---"] * 7,
    ]
    for name in names:
        own = [percent(_mean(seeds, of, name)) for of in ("validation", "test")]
        lines.append([label_of(name), *own, *_ahead(measured, name)])
    number, learners = len(seeds), f"{measured['test_learners']:,}"
    about = (
        f"NDCG@10 of {learners} test learners, means over {number} seeds; {label_of(few)} minus "
        "each: points, 95 % interval over seeds, p over learners (Holm) and over seeds."
    )
    return about + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _mean(seeds: Sequence[Mapping[str, Any]], of: str, name: str) -> float:
    return float(np.mean([row[of][name]["NDCG@10"] for row in seeds]))


def _ahead(measured: Mapping[str, Any], name: str) -> list[str]:
    if name not in measured["over_seeds"]:
        return [""] * 4
    spread = measured["over_seeds"][name]["NDCG@10"]
    (test,) = (x for x in measured["over_learners"][name] if x["metric"] == "NDCG@10")
    each = float(np.mean(spread["each"]))
    ends = " to ".join(points(spread[end], unit=False) for end in ("low", "high") if end in spread)
    of_seeds = f"{spread['p']:.2g}" if "p" in spread else ""
    return [points(each, unit=False), ends, f"{test['p_holm']:.2g}", of_seeds]


def _words(test: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{name} {100 * of['NDCG@10']:.1f}" for name, of in test.items())


def _arguments() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_folders(parser)
    add_seeds(parser)
    add_json(parser)
    parser.add_argument(
        "--models", nargs="+", choices=TRAINED, default=TRAINED, help="what is trained beside it"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(lambda: main(**vars(_arguments())))
