"""Meta-training on a device: speed, agreement with the CPU's curve, and the same bytes again."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.episodes import synthetic_store
from benchmarks.gpu_iterations import finish, new_graph, peak_mb
from mooc_maml.episodes.store import EpisodeStore, read_episodes
from mooc_maml.meta.recording import recorded
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.report.measured import Row
from mooc_maml.runtime.processes import ALONE
from mooc_maml.settings.params import Params

CPU = torch.device("cpu")
_BLOCK = 50  # updates over which losses are averaged


def episodes(folder: Path) -> tuple[str, EpisodeStore]:
    """What to train on, and in words: a pipeline run's episodes, or synthetic learners."""
    if (folder / "meta.json").exists():
        return f"episodes in {folder.name}", read_episodes(folder)
    return "400 synthetic learners of its own", synthetic_store(0, 400)


def trainer_on(
    device: torch.device, store: EpisodeStore, params: Params, cuda_graphs: bool
) -> MetaTrainer:
    """As the stage makes it, in one process."""
    own = MetaTrainer(store, params, device)
    if cuda_graphs:
        own.recording = recorded(own.task_model, store, params, ALONE, new_graph(device))
    return own


def train(trainer: MetaTrainer, updates: int, until: float) -> Row:
    """So many meta-updates, or as many as there is time for, without evaluations.

    `until`: of time.monotonic.
    """
    device, start = trainer.task_model.device, time.perf_counter()
    while trainer.progress.iteration < updates:
        trainer.step()
        if time.monotonic() > until:
            break
    finish(device)
    seconds, done = time.perf_counter() - start, trainer.progress.iteration
    replays = getattr(trainer.recording, "replays", None)
    return {
        "updates": done,
        "ms_an_update": 1e3 * seconds / max(done, 1),
        "peak_mb": peak_mb(device),
        "fault": replays.fault if replays else "",
    }


def evaluation(trainer: MetaTrainer) -> Row:
    """Zero-shot and few-shot on the whole validation set, once to warm up and once timed."""
    trainer.evaluate()
    start = time.perf_counter()
    found = trainer.evaluate()
    learners = len(trainer.store.episodes["validation"])
    metric = trainer.params.evaluation.validation_metric
    return {
        "learners": learners,
        "seconds": time.perf_counter() - start,
        f"few-shot {metric}": found["few_shot"][metric],
    }


def agreement(found: list[float], expected: list[float]) -> Row:
    """How far two loss curves are apart, update by update and in blocks of `_BLOCK`."""
    number = min(len(found), len(expected))
    if not number:
        return {"updates": 0}
    own, true = np.array(found[:number]), np.array(expected[:number])
    apart = np.abs(own - true) / true
    blocks = [slice(i, i + _BLOCK) for i in range(0, number - _BLOCK + 1, _BLOCK)]
    means = [abs(own[x].mean() - true[x].mean()) / true[x].mean() for x in blocks]
    return {
        "updates": number,
        "first_ten": float(apart[:10].max()),
        "any": float(apart.max()),
        "means_of_50": float(max(means)) if means else None,
    }


def resumed(
    device: torch.device, store: EpisodeStore, params: Params, cuda_graphs: bool, updates: int
) -> Row:
    """Whether a run twice, and one killed half-way and taken up again, give the same bytes."""

    def run(number: int, state: dict[str, Any] | None = None) -> MetaTrainer:
        own = trainer_on(device, store, params, cuda_graphs)
        if state is not None:
            own.restore(state)
        train(own, number, float("inf"))
        return own

    whole, again = run(updates), run(updates)
    buffer = io.BytesIO()
    torch.save(run(updates // 2).state(), buffer)
    buffer.seek(0)
    taken_up = run(updates, torch.load(buffer, weights_only=True))
    return {
        "updates": updates,
        "twice_the_same_bytes": _same(whole, again),
        "resumed_the_same_bytes": _same(whole, taken_up),
    }


def _same(one: MetaTrainer, two: MetaTrainer) -> bool:
    same = all(torch.equal(x, two.weights[name]) for name, x in one.weights.items())
    return same and one.progress.losses == two.progress.losses
