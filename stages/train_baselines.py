"""Stage: train the baselines on all training pairs; rank the test queries with each."""

from pathlib import Path

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import train_and_test
from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.evaluation.trained import trained_result
from mooc_maml.runtime.hardware import named, setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.run_state import RunState
from mooc_maml.settings.params import load_params, settings_of

USED = {"seed", "model", "baselines", "evaluation", "hardware"}  # settings, beside the episodes

PATHS = {
    "episodes": "folder of build_episodes",
    "model": "folder of models to write",
    "results": "JSON of metrics to write",
}


def main(episodes: Path, model: Path, results: Path) -> None:
    """Read episodes; write each baseline's model and one file of test metrics."""
    params = load_params("params.yaml")
    device, store = setup(params.hardware), read_checked(episodes)
    settings = settings_of(params, USED, {"model": {"backbone", "transformer"}})
    code, hardware = stage_fingerprint("train_baselines"), named(device)
    with RunState("train_baselines", settings, code, episodes, hardware=hardware) as run:
        names = params.baselines.models
        metrics, training = train_and_test(BASELINES, names, store, params, device, run)
        write_test_results(results, trained_result(params, store, metrics, training))
        run.publish(model)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
