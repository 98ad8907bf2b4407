"""Stage: train the models made of the baselines; rank the test queries with each."""

from pathlib import Path

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import read_table, train_and_test
from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.composites.registry import COMPOSITES
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.evaluation.trained import trained_result
from mooc_maml.runtime.hardware import named, setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.run_state import RunState
from mooc_maml.settings.params import load_params, settings_of

NAME = "train_composites"
USED = {"seed", "composites", "evaluation", "hardware"}  # settings, beside episodes and baselines

PATHS = {
    "episodes": "folder of build_episodes",
    "baselines": "folder of train_baselines",
    "model": "folder of models to write",
    "results": "JSON of metrics to write",
}


def main(episodes: Path, baselines: Path, model: Path, results: Path) -> None:
    """Read episodes and baselines; write each model and one file of test metrics."""
    params = load_params("params.yaml")
    device, store = setup(params.hardware), read_checked(episodes)
    parts = read_table(BASELINES, baselines, params.baselines.models, store.num_courses, device)
    settings = f"{settings_of(params, USED, {})} of {', '.join(parts)}"
    code, inputs, names = stage_fingerprint(NAME), (episodes, baselines), params.composites.models
    with RunState(NAME, settings, code, *inputs, hardware=named(device)) as run:
        metrics, training = train_and_test(COMPOSITES, names, store, params, device, run, parts)
        write_test_results(results, trained_result(params, store, metrics, training))
        run.publish(model)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
