"""How fast a bundle answers: from start, one learner at a time, many at once; and its memory.

    python -m benchmarks.recommend --courses 343 100000 --threads 2 --json recommend.json

Weights and learners are drawn at random: they take as long as trained ones and say nothing else.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import in_own_process, interleaved_seconds, median_and_spread, peak_mb
from mooc_maml.baselines.popularity import Popularity
from mooc_maml.baselines.repeat import Repeat
from mooc_maml.common.files import sha256, write_json
from mooc_maml.common.randomness import generator, torch_generator
from mooc_maml.common.results import plain
from mooc_maml.common.tensor_files import ENDING
from mooc_maml.meta.gru.backbone import GRU
from mooc_maml.models.gru import GRURecommender
from mooc_maml.ranking.query_ranks import ScoreFunction
from mooc_maml.recommend import Recommender
from mooc_maml.recommend import bundle as form
from mooc_maml.recommend.asking import groups
from mooc_maml.recommend.told import read_learners
from mooc_maml.settings.params import load_params

SEED = 1
MODELS: dict[str, form.Kind] = {
    "few_shot": "adapted",
    "zero_shot": "plain",
    "repeat": "informed",
    "popularity": "plain",
}
AT_ONCE = 2048  # learners of a batch
SESSIONS, LENGTH = 3, 5  # of each learner: 12 pairs, of which the latest K count


def main() -> None:
    """Measure each catalogue in a process of its own; print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--courses", type=int, nargs="+", default=[343, 100_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns of batches and starts")
    parser.add_argument("--learners", type=int, default=300, help="asked one at a time")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bundle", type=Path, help=argparse.SUPPRESS)
    own = parser.parse_args()
    if own.bundle is not None:
        print(json.dumps(_measured(own.bundle, own.threads, own.repeats, own.learners)))
        return
    found = {}
    for courses in own.courses:
        with tempfile.TemporaryDirectory() as folder:
            make_bundle(Path(folder), courses)
            options = ["--bundle", folder, "--threads", str(own.threads)]
            options += ["--repeats", str(own.repeats), "--learners", str(own.learners)]
            found[str(courses)] = in_own_process("benchmarks.recommend", options)
            found[str(courses)] |= _starts(Path(folder), own.threads, own.repeats)
        print(json.dumps({courses: found[str(courses)]}, indent=1), flush=True)
    if own.json is not None:
        write_json(own.json, {"threads": own.threads, "by_courses": found})


def make_bundle(folder: Path, courses: int) -> None:
    """A bundle of the study's GRU with random weights, and of two baselines."""
    params, rng = load_params("params.yaml"), generator(SEED, "benchmark-bundle")
    draw = torch_generator(SEED, "benchmark-bundle")
    model = GRURecommender(courses, **params.model.gru_shape(), generator=draw)
    about = {"meta": params.meta.model_dump()}
    GRU.write(folder / f"maml{ENDING}", model, about, {})
    counts = rng.integers(1, 1000, courses)
    cpu = torch.device("cpu")
    Popularity(torch.from_numpy(counts)).write(folder / f"popularity{ENDING}")
    Repeat(counts / counts.sum(), False, cpu).write(folder / f"repeat{ENDING}")
    files = {
        path.name: form.File(bytes=path.stat().st_size, sha256=sha256(path))
        for path in sorted(folder.iterdir())
    }
    write_json(folder / form.JSON, plain(_info(params, courses, files)))


def _info(params: Any, courses: int, files: dict[str, form.File]) -> form.BundleInfo:
    whole = params.model_dump(mode="json")
    values = {name: x for name, x in whole.items() if name == "meta" or not isinstance(x, dict)}
    nothing = form.Estimate(mean=0.0, low=0.0, high=0.0)
    models = [
        form.ModelInfo(
            name=name,
            label=name,
            kind=kind,
            carries_learners=False,
            file=f"{'maml' if name.endswith('shot') else name}{ENDING}",
            made_of=[],
            adaptation=form.Adaptation(
                backbone="gru",
                variant=params.meta.variant,
                num_inner_steps=params.num_inner_steps,
                zero_shot=name == "zero_shot",
                settings=values,
            )
            if name.endswith("shot")
            else None,
            metrics={"HR@10": nothing, "NDCG@10": nothing},
            validation={"HR@10": 0.0, "NDCG@10": 0.0},
        )
        for name, kind in MODELS.items()
    ]
    return form.BundleInfo(
        format=form.FORMAT,
        made_by="benchmarks.recommend, random weights",
        data=form.DataInfo(
            source="random",
            synthetic=True,
            pairs_sha256={},
            raw_sha256={},
            revision={},
            test_set="",
            learners=0,
            queries=0,
        ),
        rules=form.Rules(
            support_size=params.episodes.support_size,
            max_prefix_length=params.episodes.max_prefix_length,
            drop_consecutive_repeats=True,
            reliability=1.0,
            seen_prefix=False,
            seen_support=False,
            tasks_at_once=params.hardware.tasks_at_once,
        ),
        settings={},
        validation_metric="NDCG@10",
        default_model="few_shot",
        models=models,
        courses=_ids(courses),
        files=files,
    )


def _ids(courses: int) -> list[str]:
    return [f"course-v1:BenchmarkX+{number}+2017_T1" for number in range(courses)]


def _learners(courses: int, number: int) -> list[list[list[str]]]:
    ids, rng = _ids(courses), generator(SEED, "benchmark-learners")
    drawn = rng.integers(courses, size=(number, SESSIONS, LENGTH))
    return [[[ids[course] for course in own] for own in learner] for learner in drawn.tolist()]


def _measured(folder: Path, threads: int, repeats: int, alone: int) -> dict[str, Any]:
    """Loading, one learner at a time, and batches, in this process."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    bundle = Recommender.load(folder)
    loading = time.perf_counter() - start
    courses = len(bundle.bundle.courses)
    learners = _learners(courses, max(AT_ONCE, alone))
    found: dict[str, Any] = {"load_seconds": loading}
    for name in MODELS:
        found[f"{name}_ms"] = _one_at_a_time(bundle, name, learners[:alone])
    number = AT_ONCE if courses < 10_000 else 64
    batch = learners[:number]
    calls: dict[str, Callable[[], object]] = {
        name: lambda own=name: bundle.recommend(batch, model=own)  # type: ignore[misc]
        for name in ("few_shot", "zero_shot")
    }
    calls["few_shot_scores_alone"] = _scores_alone(bundle, batch)
    for call in calls.values():
        call()
    seconds = interleaved_seconds(calls, repeats)
    for name, taken in seconds.items():
        found[f"{name}_learners_a_second"] = number / median_and_spread(taken)[0]
        found[f"{name}_learners_a_processor_second"] = number / _processor_seconds(calls[name])
    ratios = [
        a / b for a, b in zip(seconds["few_shot"], seconds["few_shot_scores_alone"], strict=False)
    ]
    found["few_shot_over_scores_alone"] = median_and_spread(ratios)[0]
    found["peak_mb"] = peak_mb()
    return found


def _one_at_a_time(bundle: Recommender, name: str, learners: list[Any]) -> dict[str, float]:
    """Milliseconds a learner: quantiles, and the mean time of the processor.

    The first five, which warm up, are left out. On a machine busy with other work the clock also
    counts what it waits for a core; the time of the processor does not.
    """
    taken = []
    for number, learner in enumerate(learners):
        if number == 5:
            processor = time.process_time()
        start = time.perf_counter()
        bundle.recommend([learner], model=name)
        taken.append(1000 * (time.perf_counter() - start))
    mean = 1000 * (time.process_time() - processor) / (len(learners) - 5)
    quantiles = {f"p{q}": float(np.percentile(taken[5:], q)) for q in (1, 50, 99)}
    return quantiles | {"processor_mean": mean}


def _processor_seconds(call: Callable[[], object]) -> float:
    """Of all threads; the least of three calls."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def _scores_alone(bundle: Recommender, learners: list[Any]) -> Callable[[], object]:
    """The scores of the same learners as the pipeline computes them, examples made before."""
    rules, model = bundle.bundle.rules, bundle.read("few_shot")
    told = read_learners(learners, bundle.catalogue, rules)
    part = list(range(len(learners)))
    ready = list(groups(rules, rules.support_size, len(bundle.catalogue), told.sessions, part))
    score: ScoreFunction = lambda support, query: model.after(support, query, None)  # noqa: E731
    return lambda: [score(support, query) for _, support, query in ready]


def _starts(folder: Path, threads: int, repeats: int) -> dict[str, float]:
    """Seconds from the start of a program to its end, each in turn."""
    ids = ",".join(_ids(6))
    own = ["-c", "from mooc_maml.recommend.command import main; main()"]
    place = ["--bundle", str(folder)]
    programs = {
        "recommend": [*own, "recommend", "--courses", ids, *place],
        "courses_search": [*own, "courses", "--search", "BenchmarkX+12", *place],
        "import_torch": ["-c", "import torch"],
        "python": ["-c", ""],
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *program], check=True, env=environment, stdout=subprocess.DEVNULL
            )
            if turn:  # the first reads the files from disk
                taken[name].append(time.perf_counter() - start)
    return {f"start_{name}_seconds": median_and_spread(x)[0] for name, x in taken.items()}


if __name__ == "__main__":
    main()
