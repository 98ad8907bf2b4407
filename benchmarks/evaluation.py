"""Few-shot evaluation of many learners, and assembling a meta-batch beside the meta-update.

    python -m benchmarks.evaluation --episodes data/episodes --json results/evaluation.json

On episodes that the pipeline built, one training episode of each of `--learners` learners, with
fresh weights of the settings in params.yaml, in one process with `--threads` threads.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.measure import interleaved_seconds, median_and_spread, peak_mb
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.store import EpisodeStore, read_episodes, sample_tasks
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.ranking.query_ranks import query_ranks
from mooc_maml.report.measured import Row, machine, report
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import Params, load_params

COLUMNS = ("what", "learners", "seconds", "spread", "share_of_update", "peak_mb")


def main() -> None:
    """Time what surrounds the meta-updates of a run."""
    arguments = _arguments()
    params = load_params("params.yaml")
    hardware = params.hardware.model_copy(update={"threads": arguments.threads})
    params = params.model_copy(update={"hardware": hardware})
    rows = _rows(
        _one_each(read_episodes(arguments.episodes), arguments.learners), params, arguments
    )
    report(rows, COLUMNS, machine(arguments.threads, torch.device("cpu")), arguments.json)


def _one_each(store: EpisodeStore, learners: int) -> EpisodeStore:
    """The same, its test set replaced by one training episode of each of so many learners."""
    starts = store.task_ranges.start
    if len(starts) < learners:
        raise UserError(f"--learners: found {learners}; only {len(starts)} have training episodes")
    chosen = store.episodes["train"][starts[:learners]]
    return replace(store, episodes={**store.episodes, "test": chosen})


def _rows(store: EpisodeStore, params: Params, arguments: argparse.Namespace) -> list[Row]:
    trainer = MetaTrainer(store, params, setup(params.hardware))
    rng = generator(params.seed, "benchmark-evaluation")

    def assemble() -> None:
        tasks = sample_tasks(store, params.meta_batch_size, rng)
        store.support("train", tasks)
        store.query("train", tasks)

    def few_or_zero_shot(steps: int | None) -> None:
        query_ranks(
            trainer.scores(trainer.weights, steps),
            store,
            "test",
            tasks_at_once=params.hardware.tasks_at_once,
            device=trainer.task_model.device,
        )

    calls: dict[str, Callable[[], object]] = {
        "meta-update": trainer.step,
        "assembling its batch": assemble,
        "zero-shot": partial(few_or_zero_shot, 0),
        "few-shot": partial(few_or_zero_shot, None),
    }
    for call in calls.values():
        call()
    timed = interleaved_seconds(calls, arguments.repeats)
    update = median_and_spread(timed["meta-update"])[0]
    rows: list[Row] = []
    for name in calls:
        seconds, spread = median_and_spread(timed[name])
        is_batch = name in ("meta-update", "assembling its batch")
        learners = params.meta_batch_size if is_batch else arguments.learners
        row: Row = {"what": name, "learners": learners, "seconds": seconds, "spread": spread}
        rows.append(row | {"share_of_update": seconds / update if is_batch else None})
    rows[-1]["peak_mb"] = peak_mb()
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What surrounds the meta-updates of a run.")
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--learners", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
