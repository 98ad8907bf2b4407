"""Stage: train the models made of the baselines; rank the test queries with each."""

from pathlib import Path

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import read_table, shared_out, train_and_test
from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.composites.registry import COMPOSITES
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.evaluation.trained import trained_result
from mooc_maml.runtime.hardware import named, setup
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.runtime.processes import ProcessGroup, join_process_group
from mooc_maml.runtime.run_state import RunState
from mooc_maml.runtime.stage_processes import run_in_processes
from mooc_maml.settings.params import Params, load_params, settings_of

NAME = "train_composites"
USED = {"seed", "composites", "evaluation", "hardware"}  # settings, beside episodes and baselines

PATHS = {
    "episodes": "folder of build_episodes",
    "baselines": "folder of train_baselines",
    "model": "folder of models to write",
    "results": "JSON of metrics to write",
}


def main(**paths: Path) -> None:
    """Read episodes and baselines; write each model and one file of test metrics."""
    params = load_params("params.yaml")
    most = len(shared_out(COMPOSITES, params.composites.models))
    if not run_in_processes(NAME, params.hardware, paths, at_most=most, lines_of_all=True):
        with join_process_group() as process_group:
            _share(params, process_group, **paths)


def _share(
    params: Params,
    process_group: ProcessGroup,
    *,
    episodes: Path,
    baselines: Path,
    model: Path,
    results: Path,
) -> None:
    """What one of the processes does; the first one writes what all have found."""
    device, store = setup(params.hardware, process_group), read_checked(episodes)
    parts = read_table(BASELINES, baselines, params.baselines.models, store.num_courses, device)
    settings = f"{settings_of(params, USED, {})} of {', '.join(parts)}"
    code, hardware = stage_fingerprint(NAME), named(device, process_group)
    run = RunState(NAME, settings, code, episodes, baselines, hardware=hardware)
    names = params.composites.models
    with run.shared(process_group):
        metrics, training = train_and_test(
            COMPOSITES, names, store, params, device, run, parts, process_group
        )
        if not process_group.rank:
            write_test_results(results, trained_result(params, store, metrics, training))
            run.publish(model)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
