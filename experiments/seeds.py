"""Train and test with several seeds; gather the test results into one small JSON.

The stages run in folders of their own, one a seed, rather than as DVC experiments: those would need
the raw files under DVC's control and, to run unattended, its queue. The pairs are the workspace's;
the learner split, the initialisation and sampling, or both are drawn with each seed. A run that was
stopped goes on where it was, and a seed that has been tested is not tested again.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from experiments.command_line import add_seeds, end_at_sigterm, new_parser
from experiments.drawn import changes
from experiments.settings_by_key import with_changes
from experiments.stage_runs import (
    bring_up_to_date,
    command,
    last_words,
    prepare,
    running,
    stages_for,
)
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import read_json, sha256
from mooc_maml.common.results import write_result
from mooc_maml.evaluation.schema import SeedsResult
from mooc_maml.evaluation.statistics import t_interval
from mooc_maml.evaluation.test_reads import FILE, count_reads
from mooc_maml.report.inputs import tag
from mooc_maml.report.repeated import shared_settings
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.settings.params import Params, load_params

PLACE = Path(".state") / "seeds"
GIVEN = ("simulate", "preprocess")  # the same for all seeds


def main(number: int, varied: str, results: Path) -> None:
    """Run the stages for seeds 1 to `number`; write the results of all."""
    params = load_params("params.yaml")
    content = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    bring_up_to_date("preprocess")
    place, seeds = PLACE / digest(params, varied), range(1, number + 1)
    folders = [place / f"seed_{seed}" for seed in seeds]
    for seed, folder in zip(seeds, folders, strict=True):
        run(folder, with_changes(content, changes(params, seed, varied)))
    result = gather([folder / "results" / f"maml_{tag(params)}.json" for folder in folders])
    result |= {
        "seeds": list(seeds),
        "varied": varied,
        "settings": shared_settings(params),
        "test_reads": sum(test_reads(folder) for folder in folders),
    }
    path = results / f"seeds_{tag(params)}.json"
    write_result(path, SeedsResult.model_validate(result))
    print(_summary(result))
    print(f"{path}; `dvc repro --force --single-item visualize` shows it in the report")


def stages() -> list[str]:
    """What runs for each seed, as dvc.yaml has it, in the order of work."""
    return stages_for("test", *GIVEN)


def digest(params: Params, varied: str) -> str:
    """Hash of all that the results of a seed depend on, apart from the seed."""
    settings = params.model_dump(mode="json")
    del settings["hardware"]["processes"], settings["ablations"]
    if varied == "both":
        del settings["seed"], settings["episodes"]["split_seed"]
    code = stage_fingerprint(*stages())
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
    for stage in stages():
        done = folder / f"{stage}.done"
        if done.exists():
            continue
        print(f"{folder.name}: {stage}", flush=True)
        with running(command(stage, folder), folder) as process:
            process.wait()
        if process.returncode:
            raise UserError(f"{folder}: {stage} failed: {last_words(folder)}")
        done.touch()
    for name in ("data/episodes", "models"):  # large, and tested
        shutil.rmtree(folder / name, ignore_errors=True)


def test_reads(folder: Path) -> int:
    """How often the test learners of a seed were read, as every stage that read them noted it."""
    names = {
        found["test_set"]
        for found in map(read_json, sorted((folder / "results").glob("*.json")))
        if "test_set" in found
    }
    counts = [count_reads(folder / "results" / FILE, name) for name in names]
    return sum(sum(count.values()) for count in counts)


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


def _summary(result: dict[str, Any]) -> str:
    lines = [f"{len(result['seeds'])} seeds; the test set was read {result['test_reads']} times"]
    for model, metrics in result["models"].items():
        cells = (f"{metric} {100 * of['mean']:.2f} %" for metric, of in metrics.items())
        lines.append(f"{model:<18}" + "  ".join(cells))
    return "\n".join(lines)


def _from_command_line() -> None:
    parser = new_parser(__doc__)
    add_seeds(parser)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the JSON")
    arguments = parser.parse_args()
    end_at_sigterm()
    main(arguments.seeds, arguments.vary, arguments.results)


if __name__ == "__main__":
    main_guard(_from_command_line)
