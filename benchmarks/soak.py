"""A long meta-training run: does memory stay flat, does the speed stay the same?

    python -m benchmarks.soak --updates 4000 --json soak.json --picture soak.png

On made-up learners, so that nothing is needed beforehand. Memory is what the process holds
(resident set), sampled along the way; the first fifth of the samples warms up and is not judged.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from benchmarks.episodes import SUPPORT_SIZE, training_store
from benchmarks.measure import machine, report, resident_mb
from mooc_maml.errors import main_guard
from mooc_maml.files import atomic_path
from mooc_maml.params import Params, load_params
from mooc_maml.training import MetaTrainer, meta_train

COLUMNS = ("updates", "seconds", "updates_per_second", "mb_per_1000_updates", "last_to_first")
Sample = tuple[int, float, float]  # updates done, seconds since the start, MB held


def main() -> None:
    """Train, sample, and tell how memory and speed went."""
    arguments = _arguments()
    params = _params(arguments.updates)
    torch.set_num_threads(arguments.threads)
    store = training_store(arguments.seed, arguments.learners, arguments.courses)
    trainer = MetaTrainer(store, params, torch.device("cpu"))
    samples = list(_samples(trainer, max(arguments.updates // arguments.samples, 1)))
    row = judged(samples)
    facts = machine(arguments.threads, torch.device("cpu"))
    report([row | {"samples": samples}], COLUMNS, facts, arguments.json)
    if arguments.picture is not None:
        _draw(samples, arguments.picture)


def judged(samples: list[Sample]) -> dict[str, Any]:
    """Slope of memory and steadiness of speed.

    Args:
        samples: at least 12, evenly spaced in updates.

    Returns:
        mb_per_1000_updates: slope of a straight line through memory, after the warm-up;
        last_to_first: updates per second in the last quarter, over those in the first after the
        warm-up.
    """
    kept = samples[len(samples) // 5 :]
    updates, seconds, held = np.array(kept).T
    speed = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(kept)]
    quarter = len(speed) // 4
    return {
        "updates": samples[-1][0],
        "seconds": samples[-1][1],
        "updates_per_second": samples[-1][0] / samples[-1][1],
        "mb_per_1000_updates": 1000 * float(np.polyfit(updates, held, 1)[0]),
        "last_to_first": float(np.median(speed[-quarter:]) / np.median(speed[:quarter])),
        "mb_first": float(held[0]),
        "mb_last": float(held[-1]),
        "judged_seconds": float(seconds[-1] - seconds[0]),
    }


def _samples(trainer: MetaTrainer, every: int) -> Iterator[Sample]:
    start = time.perf_counter()
    for _ in meta_train(trainer, lambda look: None):
        done = trainer.progress.iteration
        if done % every == 0:
            yield done, time.perf_counter() - start, resident_mb()


def _params(updates: int) -> Params:
    """The settings of params.yaml, to run exactly so many updates."""
    params = load_params("params.yaml")
    sizes = params.episodes.model_copy(update={"support_size": SUPPORT_SIZE})
    return params.model_copy(
        update={"num_meta_iterations": updates, "early_stopping_patience": 0, "episodes": sizes}
    )


def _draw(samples: list[Sample], path: Path) -> None:
    updates, seconds, held = np.array(samples).T
    figure, (memory, speed) = plt.subplots(2, sharex=True, figsize=(8, 5), layout="constrained")
    memory.plot(updates, held)
    memory.set(ylabel="memory held (MB)", ylim=(0, None))
    speed.plot(updates[1:], np.diff(updates) / np.diff(seconds))
    speed.set(ylabel="updates per second", xlabel="meta-update", ylim=(0, None))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    plt.close(figure)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory and speed of a long meta-training run.")
    parser.add_argument("--updates", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=100, help="how often memory is looked at")
    parser.add_argument("--learners", type=int, default=400)
    parser.add_argument("--courses", type=int, default=343)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the samples to")
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(main)
