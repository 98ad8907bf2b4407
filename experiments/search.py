"""Search hyper-parameters of meta-training on the validation learners; the test set stays unread.

Trials are kept in an SQLite file by Optuna: one file that survives a kill at any moment and needs
no server. A search that was stopped goes on with the trials that it has, and the trial that was
running goes on from its last saved state. Trials with other data, other fixed settings, another
space, other code or, with a warm start, another baseline GRU belong to another study in the same
file.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from experiments.command_line import end_at_sigterm, new_parser
from experiments.search_settings import (
    SearchSettings,
    check_space,
    load_search,
    may_warm_start,
)
from experiments.search_trials import PLACE, START, Search, chosen, ended, queue_again
from experiments.settings_by_key import as_yaml, leaves, write_settings
from experiments.stage_runs import bring_up_to_date
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import sha256
from mooc_maml.runtime.pipeline import read_pipeline, stage_fingerprint, tracks
from mooc_maml.settings.params import load_params, parse_params

if TYPE_CHECKING:
    import optuna

SETTINGS = Path("experiments") / "search.yaml"


def main(settings_path: Path, apply: bool) -> None:
    """Run what is missing of the search; print the best settings, or write them to params.yaml."""
    optuna = _optuna()
    search, content = load_search(settings_path), _workspace_settings()
    check_space(search, content, settings_path)
    bring_up_to_date("train_baselines" if may_warm_start(search, content) else "build_episodes")
    name = study_name(search, content)
    PLACE.mkdir(parents=True, exist_ok=True)
    lock = FileLock(PLACE / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{lock.lock_file}: this search runs already") from None
    with lock:
        study = optuna.create_study(
            storage=f"sqlite:///{(PLACE / 'trials.db').as_posix()}",
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=search.startup_trials,
                n_warmup_steps=parse_params(content).eval_interval,
            ),
        )
        queue_again(study)
        Search(study, search, content).run()
        _conclude(study, search, content, apply)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError(
            "the search needs Optuna, an optional extra: pip install -e '.[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _workspace_settings() -> dict[str, Any]:
    load_params("params.yaml")
    content: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    return content


def study_name(search: SearchSettings, content: dict[str, Any]) -> str:
    """Hash of everything that makes trials comparable."""
    entry = read_pipeline()["meta_train"]
    settings = leaves(parse_params(content).model_dump(mode="json"))
    fixed = {
        key: value
        for key, value in settings.items()
        if tracks(entry, key) and key not in search.space
    }
    space = search.model_dump_json(include={"space"})
    code = stage_fingerprint("meta_train")
    digest = hashlib.sha256(f"{json.dumps(fixed, sort_keys=True)}\n{space}\n{code}\n".encode())
    start = [Path(START)] if may_warm_start(search, content) else []
    for path in (*sorted(Path("data/episodes").rglob("*")), *start):
        if path.is_file():
            digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def _conclude(
    study: "optuna.Study", search: SearchSettings, content: dict[str, Any], apply: bool
) -> None:
    from optuna.trial import TrialState

    complete = [trial for trial in ended(study) if trial.state == TrialState.COMPLETE]
    if not complete:
        raise UserError(f"none of {search.trials} trials ended well; narrow the space")
    best = chosen(study.best_trial, search, content)
    metric = parse_params(content).evaluation.validation_metric
    print(f"best of validation: few-shot {metric} {study.best_value:.4f}")
    if apply:
        write_settings(Path("params.yaml"), best)
        print("written to params.yaml; `dvc repro` trains and tests it")
    else:
        changes = " ".join(f"-S {key}={as_yaml(value)}" for key, value in best.items())
        print(f"to train and test it: dvc exp run {changes}")


def _from_command_line() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="what to search")
    parser.add_argument("--apply", action="store_true", help="write the best to params.yaml")
    arguments = parser.parse_args()
    end_at_sigterm()
    main(arguments.settings, arguments.apply)


if __name__ == "__main__":
    main_guard(_from_command_line)
