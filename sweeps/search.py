"""Search hyper-parameters of meta-training on the validation learners; the test set stays unread.

Trials are kept in an SQLite file by Optuna: one file that survives a kill at any moment and needs
no server. A search that was stopped goes on with the trials that it has, and the trial that was
running goes on from its last saved state. Trials with other data, other fixed settings, another
space, other code or, with a warm start, another baseline GRU belong to another study in the same
file.
"""

import argparse
import hashlib
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from filelock import FileLock, Timeout

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import atomic_path, sha256
from mooc_maml.common.randomness import generator
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.settings.params import Params, load_params, parse_params
from sweeps.search_settings import Range, SearchSettings, Value, load_search
from sweeps.stage_runs import (
    bring_up_to_date,
    command,
    last_words,
    prepare,
    running,
    with_changes,
)

if TYPE_CHECKING:
    import optuna

PLACE = Path(".state") / "search"
START = "models/baselines/gru.pth"  # of a warm start
SECONDS_BETWEEN_GLANCES = 0.2


def main(settings_path: Path, apply: bool) -> None:
    """Run what is missing of the search; print the best settings, or write them to params.yaml."""
    optuna = _optuna()
    search, content = load_search(settings_path), _workspace_settings()
    _check(search, content, settings_path)
    bring_up_to_date("train_baselines" if content["meta"]["warm_start"] else "build_episodes")
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
        _take_up(study)
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


def _check(search: SearchSettings, content: dict[str, Any], path: Path) -> None:
    """Try the ends of each range as settings before any work."""
    for key, values in search.space.items():
        if content["meta"]["warm_start"] and key.startswith("model."):
            raise UserError(
                f"{path}: space: {key}: cannot be searched with meta.warm_start: true, which "
                "begins with the baseline gru as it was trained, so with its size; take the key "
                "out of the space, or set meta.warm_start to false in params.yaml"
            )
        for end in values.ends():
            try:
                with_changes(content, {key: _as_setting(key, end, content)})
            except UserError as error:
                raise UserError(f"{path}: space: {error}") from None


def _as_setting(key: str, value: Value, content: dict[str, Any]) -> Value:
    """The value as params.yaml has it: whole numbers whole, others with three digits."""
    if isinstance(value, bool):
        return value
    if _is_whole(key, content) and float(value).is_integer():
        return int(value)
    return float(f"{value:.3g}")


def _is_whole(key: str, content: dict[str, Any]) -> bool:
    place: Any = parse_params(content)
    for part in key.split("."):
        place = getattr(place, part)
    return isinstance(place, int)


def study_name(search: SearchSettings, content: dict[str, Any]) -> str:
    """Hash of everything that makes trials comparable."""
    fixed = parse_params(content).model_dump(mode="json")
    for section in ("data", "sessions", "baselines", "composites", "ablations"):
        del fixed[section]
    for key in search.space:
        *sections, last = key.split(".")
        place = fixed
        for section in sections:
            place = place[section]
        del place[last]
    space = search.model_dump_json(include={"space"})
    code = stage_fingerprint("meta_train")
    digest = hashlib.sha256(f"{json.dumps(fixed, sort_keys=True)}\n{space}\n{code}\n".encode())
    start = [Path(START)] if content["meta"]["warm_start"] else []
    for path in (*sorted(Path("data/episodes").rglob("*")), *start):
        if path.is_file():
            digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def _take_up(study: "optuna.Study") -> None:
    """Put the trial that a stopped search was at first in the queue again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.params:
            study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)
        study.set_user_attr(f"taken up again: {trial.number}", True)


def ended(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    """The trials that count: neither waiting nor running nor taken up again by another."""
    taken_up = study.user_attrs
    return [
        trial
        for trial in study.get_trials()
        if trial.state.is_finished() and f"taken up again: {trial.number}" not in taken_up
    ]


class Search:
    """The trials of one study, one after the other."""

    def __init__(
        self, study: "optuna.Study", search: SearchSettings, content: dict[str, Any]
    ) -> None:
        self.study, self.search, self.content = study, search, content
        self.metric = parse_params(content).evaluation.validation_metric

    def run(self) -> None:
        """Run trials until there are as many as asked for.

        Raises:
            UserError: three trials in a row failed.
        """
        import optuna

        failed = 0
        while (done := len(ended(self.study))) < self.search.trials:
            # anew each time: a search that goes on must not repeat the draws that it began with
            seed = int(generator(self.content["seed"], "search", done).integers(2**31))
            self.study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=self.search.startup_trials, seed=seed
            )
            trial = self.study.ask()
            changes = chosen(trial, self.search, self.content)
            state, said = self._try(trial, changes)
            failed = failed + 1 if state == "failed" else 0
            words = " ".join(f"{key}={value}" for key, value in changes.items())
            print(f"{done + 1}/{self.search.trials}: {words}: {state}, {said}", flush=True)
            if failed == 3:
                raise UserError(f"three trials in a row failed; the last said: {said}")

    def _try(self, trial: "optuna.Trial", changes: dict[str, Value]) -> tuple[str, str]:
        """Train with some settings; in words how it ended, and its best value or its last words."""
        from optuna.trial import TrialState

        digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:12]
        folder = PLACE / self.study.study_name / digest
        start = [START] if self.content["meta"]["warm_start"] else []
        prepare(folder, with_changes(self.content, changes), "data/episodes", *start)
        words = [*command("meta_train", folder), "--looks", "looks.csv"]
        with running(words, folder) as process:
            was_pruned = self._watch(trial, process, folder / "looks.csv")
        best = self._best(folder / "looks.csv")
        if was_pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            found = "pruned", f"{self.metric} {best:.4f}"
        elif process.returncode == 0:
            self.study.tell(trial, best)
            found = "complete", f"{self.metric} {best:.4f}"
        else:
            self.study.tell(trial, state=TrialState.FAIL)
            found = "failed", last_words(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return found

    def _watch(
        self, trial: "optuna.Trial", process: "subprocess.Popen[bytes]", looks: Path
    ) -> bool:
        """Report each look at validation; True as soon as the pruner wants the trial to end."""
        seen = 0
        while True:
            is_over = process.poll() is not None
            table = self._looks(looks)
            for iteration, value in table[seen:]:
                trial.report(value, iteration)
                if trial.should_prune() and not is_over:
                    return True
            seen = len(table)
            if is_over:
                return False
            time.sleep(SECONDS_BETWEEN_GLANCES)

    def _looks(self, path: Path) -> list[tuple[int, float]]:
        if not path.is_file():
            return []
        table = pd.read_csv(path)
        return list(zip(table["iteration"], table[f"few_shot {self.metric}"], strict=True))

    def _best(self, path: Path) -> float:
        return max((value for _, value in self._looks(path)), default=math.nan)


def chosen(
    trial: "optuna.Trial | optuna.trial.FrozenTrial",
    search: SearchSettings,
    content: dict[str, Any],
) -> dict[str, Value]:
    """Key -> value of a trial, as params.yaml has it."""
    found: dict[str, Value] = {}
    for key, values in search.space.items():
        value: Any
        if not isinstance(values, Range):
            value = trial.suggest_categorical(key, values.choices)
        elif _is_whole(key, content):
            value = trial.suggest_int(key, int(values.low), int(values.high), log=values.log)
        else:
            value = trial.suggest_float(key, values.low, values.high, log=values.log)
        found[key] = _as_setting(key, value, content)
    return found


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
        changes = " ".join(f"-S {key}={_yaml(value)}" for key, value in best.items())
        print(f"to train and test it: dvc exp run {changes}")


def _yaml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_settings(path: Path, changes: dict[str, Value]) -> Params:
    """Change settings in a file by their dotted keys; every other character stays."""
    text = path.read_text(encoding="utf-8")
    for key, value in changes.items():
        node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
        for part in key.split("."):
            node = next(inner for name, inner in node.value if name.value == part)
        text = text[: node.start_mark.index] + _yaml(value) + text[node.end_mark.index :]
    parse_params(yaml.safe_load(text))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return load_params(path)


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=Path("search.yaml"), help="what to search")
    parser.add_argument("--apply", action="store_true", help="write the best to params.yaml")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main(arguments.settings, arguments.apply)


if __name__ == "__main__":
    main_guard(_from_command_line)
