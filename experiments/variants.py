"""Every way to adapt, meta-trained for the same number of updates: what it costs, what it is worth.

    python -m experiments.variants --pairs data/pairs --folder /tmp/variants --updates 300

Settings are those of params.yaml, but for a smaller number of updates, from random weights with
`--cold`, else from the trained baseline GRU (`meta.warm_start`, with its `outer_lr` of 0.0001).
Figures are of the validation learners alone, which also choose the best of the evaluations: the
ways are compared with each other and with the GRU, and nothing is said of unseen learners. MAML++
gives up the loss of each step, and first order, at the same shares of the run as in params.yaml.
"""

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import torch

from experiments.command_line import add_folders, add_json, at_least, new_parser
from experiments.made_from import keep_settings
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.common.early_stopping import place_of_best
from mooc_maml.common.errors import main_guard
from mooc_maml.common.files import write_json
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.train import MetaTrainer, meta_train
from mooc_maml.meta.variants import VARIANTS
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import Params, load_params, parse_params

FIRST_ORDER = "maml, first-order"
LOOKS = 3  # at validation, after the one before the first update
WARM_OUTER_LR = 1e-4  # the study's, for a warm start
METRICS = ("HR@1", "HR@10", "NDCG@10")
COLUMNS = (
    *("variant", "updates", "minutes", "cost", "best_at"),
    *(f"{mode} {metric}" for mode in ("zero", "few") for metric in METRICS),
)


def main() -> None:
    """Train one after the other, and print a row each."""
    arguments = _arguments()
    base = load_params("params.yaml")
    device = setup(base.hardware)
    store = build_episodes(read_steps(arguments.pairs), base)[0]
    keep_settings(arguments.folder, arguments.pairs, base)
    gru = _gru(arguments.folder, store, base, device)
    rows: list[Row] = [_row_of_gru(gru, store, base, device)]
    facts = machine(base.hardware.threads, device)
    for name in [FIRST_ORDER, *VARIANTS]:
        rows.append(_trained(name, arguments, gru, store, base, device))
        one = next((row["seconds_an_update"] for row in rows if row["variant"] == "maml"), None)
        for row in rows[1:]:
            row["cost"] = row["seconds_an_update"] / one if one else None
        report(rows, COLUMNS, facts, None)
        if arguments.json:
            write_json(arguments.json, {"machine": facts, "cold": arguments.cold, "rows": rows})


def _gru(folder: Path, store: EpisodeStore, params: Params, device: torch.device) -> GRUBaseline:
    """The baseline, from its file if it is there."""
    path = folder / "gru.pth"
    if not path.exists():
        GRUBaseline.train(store, params, device, print).write(path)
    return GRUBaseline.read(path, store.num_courses, device)


def _row_of_gru(gru: GRUBaseline, store: EpisodeStore, params: Params, device: torch.device) -> Row:
    at_once, score = params.hardware.tasks_at_once, seen_filter(store, params).without(gru.scores)
    found = summary(query_ranks(score, store, "validation", tasks_at_once=at_once, device=device))
    return {"variant": "gru", **{f"zero {metric}": found[metric] for metric in METRICS}}


def _settings(name: str, arguments: argparse.Namespace, base: Params) -> Params:
    changed: dict[str, Any] = base.model_dump()
    share = arguments.updates / base.num_meta_iterations
    changed |= {
        "use_second_order": name != FIRST_ORDER,
        "num_meta_iterations": arguments.updates,
        "eval_interval": -(-arguments.updates // LOOKS),
        "early_stopping_patience": 0,
    }
    if not arguments.cold:
        changed["outer_lr"] = WARM_OUTER_LR
    changed["meta"] |= {
        "variant": "maml" if name == FIRST_ORDER else name,
        "warm_start": not arguments.cold,
        "first_order_updates": round(share * base.meta.first_order_updates),
        "multi_step_updates": round(share * base.meta.multi_step_updates),
    }
    return parse_params(changed)


def _trained(
    name: str,
    arguments: argparse.Namespace,
    gru: GRUBaseline,
    store: EpisodeStore,
    base: Params,
    device: torch.device,
) -> Row:
    """One way to adapt: seconds of its updates alone, and its best evaluation."""
    params = _settings(name, arguments, base)
    # A copy, since updates change the weights in place.
    start = None if arguments.cold else copy.deepcopy(gru.model)
    trainer = MetaTrainer(store, params, device, start=start)
    seconds, started = list[float](), time.perf_counter()

    def on_evaluation(evaluation: dict[str, Any]) -> None:
        few, zero = (evaluation[mode]["NDCG@10"] for mode in ("few_shot", "zero_shot"))
        print(
            f"{name}: {evaluation['iteration']} updates, NDCG@10 {zero:.4f} -> {few:.4f}",
            flush=True,
        )

    moment = time.perf_counter()
    for _ in meta_train(trainer, on_evaluation):
        now = time.perf_counter()
        if trainer.progress.iteration % params.eval_interval != 1:  # no evaluation in between
            seconds.append(now - moment)
        moment = now
    evaluations, metric = trainer.progress.validation, params.evaluation.validation_metric
    best = evaluations[
        place_of_best([evaluation["few_shot"][metric] for evaluation in evaluations])
    ]
    return {
        "variant": name,
        "updates": arguments.updates,
        "minutes": (time.perf_counter() - started) / 60,
        "seconds_an_update": sum(seconds) / len(seconds),
        "best_at": best["iteration"],
        **{
            f"{short} {metric}": best[mode][metric]
            for short, mode in (("zero", "zero_shot"), ("few", "few_shot"))
            for metric in METRICS
        },
        "evaluations": evaluations,
    }


def _arguments() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_folders(parser)
    parser.add_argument("--updates", type=at_least(1), default=300, help="meta-updates of each")
    parser.add_argument("--cold", action="store_true", help="begin with random weights")
    add_json(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
