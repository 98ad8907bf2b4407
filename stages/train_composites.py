"""Stage: train the models made of the baselines; rank the test queries with each."""

import argparse
from pathlib import Path
from typing import Any

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import about, read_table, train_and_test
from mooc_maml.common.errors import main_guard
from mooc_maml.composites.registry import COMPOSITES
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.runtime.hardware import setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.run_state import RunState
from mooc_maml.settings.params import load_params

USED = {"seed", "composites", "evaluation", "hardware"}  # settings, beside episodes and baselines


def main(episodes: Path, baselines: Path, model: Path, results: Path) -> None:
    """Read episodes and baselines; write each model and one file of test metrics."""
    params = load_params("params.yaml")
    device, store = setup(params.hardware), read_checked(episodes)
    unused: dict[str, Any] = dict.fromkeys(set(type(params).model_fields) - USED, True)
    settings = params.model_dump_json(exclude={**unused, "hardware": {"processes"}})
    code = stage_fingerprint("train_composites")
    parts = read_table(BASELINES, baselines, params.baselines.models, store.num_courses, device)
    settings = f"{settings} of {', '.join(parts)} on {device}"
    with RunState("train_composites", settings, code, episodes, baselines) as run:
        names = params.composites.models
        metrics, training = train_and_test(COMPOSITES, names, store, params, device, run, parts)
        content = {**about(store, params), "composites": metrics, **training}
        write_test_results(results, content, store.test_set)
        run.publish(model)


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--baselines", type=Path, required=True, help="folder of train_baselines")
    parser.add_argument("--model", type=Path, required=True, help="folder of models to write")
    parser.add_argument("--results", type=Path, required=True, help="JSON of metrics to write")
    given = parser.parse_args()
    main(given.episodes, given.baselines, given.model, given.results)


if __name__ == "__main__":
    main_guard(_from_command_line)
