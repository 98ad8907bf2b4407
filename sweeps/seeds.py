"""Train and test with several seeds; gather the test results into one small JSON.

The stages run in folders of their own, one a seed, rather than as DVC experiments: those would need
the raw files under DVC's control and, to run unattended, its queue. The pairs are the workspace's;
the learner split, the initialisation and sampling, or both are drawn anew with each seed. A run
that was stopped goes on where it was, and a seed that has been tested is not tested again.
"""

import argparse
import hashlib
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import read_json, sha256, write_json
from mooc_maml.evaluation.statistics import t_interval
from mooc_maml.report.inputs import tag
from mooc_maml.report.repeated import shared_settings
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.settings.params import Params, load_params
from sweeps.stage_runs import (
    bring_up_to_date,
    command,
    last_words,
    prepare,
    running,
    with_changes,
)

PLACE = Path(".state") / "seeds"
STAGES = ("build_episodes", "train_baselines", "train_composites", "meta_train", "test")
VARIED = ("both", "split", "training")


def main(number: int, varied: str, results: Path) -> None:
    """Run the stages for seeds 1 to `number`; write the results of all."""
    params = load_params("params.yaml")
    content = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    bring_up_to_date("preprocess")
    place, seeds = PLACE / _digest(params, varied), range(1, number + 1)
    folders = [place / f"seed_{seed}" for seed in seeds]
    for seed, folder in zip(seeds, folders, strict=True):
        run(folder, with_changes(content, changes(params, seed, varied)))
    found = gather([folder / "results" / f"maml_{tag(params)}.json" for folder in folders])
    found |= {
        "seeds": list(seeds),
        "varied": varied,
        "settings": shared_settings(params),
        "test_set_read": sum(_readings(folder) for folder in folders),
    }
    path = results / f"seeds_{tag(params)}.json"
    write_json(path, found)
    print(_told(found))
    print(f"{path}; `dvc repro --force --single-item visualize` shows it in the report")


def changes(params: Params, seed: int, varied: str) -> dict[str, int]:
    """Settings of one seed: what is not varied keeps the seed of params.yaml."""
    own = params.episodes.split_seed
    split = params.seed if own is None else own
    return {
        "seed": params.seed if varied == "split" else seed,
        "episodes.split_seed": split if varied == "training" else seed,
    }


def _digest(params: Params, varied: str) -> str:
    """Hash of all that the results of a seed depend on, apart from the seed."""
    settings = params.model_dump(mode="json")
    del settings["hardware"]["processes"], settings["ablations"]
    if varied == "both":
        del settings["seed"], settings["episodes"]["split_seed"]
    code = stage_fingerprint(*STAGES)
    digest = hashlib.sha256(f"{varied}\n{json.dumps(settings, sort_keys=True)}\n{code}\n".encode())
    for path in sorted(Path("data/pairs").rglob("*")):
        if path.is_file():
            digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def run(folder: Path, settings: dict[str, Any]) -> None:
    """Run the stages that have not ended yet in a folder.

    Raises:
        UserError: a stage failed.
    """
    prepare(folder, settings, "data/pairs", "data/synthetic_truth")
    for stage in STAGES:
        done = folder / f"{stage}.done"
        if done.exists():
            continue
        print(f"{folder.name}: {stage}", flush=True)
        if stage == "test":
            with (folder / "test_set_read.txt").open("a", encoding="utf-8") as file:
                file.write("the test stage began\n")
        with running(command(stage, folder), folder) as process:
            process.wait()
        if process.returncode:
            raise UserError(f"{folder}: {stage} failed: {last_words(folder)}")
        done.touch()
    for name in ("data/episodes", "models"):  # large, and tested
        shutil.rmtree(folder / name, ignore_errors=True)


def _readings(folder: Path) -> int:
    return len((folder / "test_set_read.txt").read_text(encoding="utf-8").splitlines())


def gather(paths: Sequence[Path]) -> dict[str, Any]:
    """Over the result files of several seeds: each model's metrics, and few-shot minus others."""
    files = [read_json(path) for path in paths]
    of_seed = [
        file["baselines"] | {n: file[n] for n in ("zero_shot", "few_shot", "oracle") if n in file}
        for file in files
    ]
    models = {
        model: {metric: over_seeds([found[model][metric] for found in of_seed]) for metric in of}
        for model, of in of_seed[0].items()
    }
    differences = {
        f"few_shot_minus_{other}": {
            metric: over_seeds([f["few_shot"][metric] - f[other][metric] for f in of_seed])
            for metric in of_seed[0]["few_shot"]
        }
        for other in ("zero_shot", "gru")
    }
    return {
        "data_source": files[0]["data_source"],
        "synthetic": files[0]["synthetic"],
        "learners": [file["learners"] for file in files],
        "models": models,
        "differences": differences,
    }


def over_seeds(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation and 95 % t-interval over seeds (null: one seed), and the values."""
    array = np.array(values)
    interval, several = t_interval(array), len(values) > 1
    return {
        "mean": interval.mean,
        "standard_deviation": float(array.std(ddof=1)) if several else None,
        "low": interval.low if several else None,
        "high": interval.high if several else None,
        "values": values,
    }


def _told(found: dict[str, Any]) -> str:
    lines = [f"{len(found['seeds'])} seeds; the test set was read {found['test_set_read']} times"]
    for model, metrics in found["models"].items():
        cells = (f"{metric} {100 * of['mean']:.2f} %" for metric, of in metrics.items())
        lines.append(f"{model:<18}" + "  ".join(cells))
    return "\n".join(lines)


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=5, help="seeds 1 to this one (default: 5)")
    parser.add_argument(
        "--vary",
        choices=VARIED,
        default="both",
        help="what each seed draws anew: the learner split, all of training, or both (default)",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the JSON")
    arguments = parser.parse_args()
    if arguments.number < 1:
        raise UserError(f"--number: found {arguments.number}; expected at least 1")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main(arguments.number, arguments.vary, arguments.results)


if __name__ == "__main__":
    main_guard(_from_command_line)
