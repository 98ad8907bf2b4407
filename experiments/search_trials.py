"""The trials of a hyper-parameter search: drawn, trained, watched, ended early."""

import hashlib
import json
import math
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.search_settings import Range, SearchSettings, as_setting, is_whole_number
from experiments.settings_by_key import Value, with_changes
from experiments.stage_runs import command, last_words, prepare, running
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.settings.params import parse_params

if TYPE_CHECKING:
    import optuna

PLACE = Path(".state") / "search"
START = "models/baselines/gru.pth"  # of a warm start
SECONDS_BETWEEN_GLANCES = 0.2


def queue_again(study: "optuna.Study") -> None:
    """Put the trial that a stopped search was at first in the queue again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.params:
            study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)
        study.set_user_attr(f"seen up again: {trial.number}", True)


def ended(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    """The trials that count: neither waiting nor running nor seen up again by another."""
    taken_up = study.user_attrs
    return [
        trial
        for trial in study.get_trials()
        if trial.state.is_finished() and f"seen up again: {trial.number}" not in taken_up
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
            # again each time: a search that goes on must not repeat the draws that it began with
            seed = int(generator(self.content["seed"], "search", done).integers(2**31))
            self.study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=self.search.startup_trials, seed=seed
            )
            trial = self.study.ask()
            changes = chosen(trial, self.search, self.content)
            state, result = self._try(trial, changes)
            failed = failed + 1 if state == "failed" else 0
            words = " ".join(f"{key}={value}" for key, value in changes.items())
            print(f"{done + 1}/{self.search.trials}: {words}: {state}, {result}", flush=True)
            if failed == 3:
                raise UserError(f"three trials in a row failed; the last: {result}")

    def _try(self, trial: "optuna.Trial", changes: dict[str, Value]) -> tuple[str, str]:
        """Train with some settings; in words how it ended, and its best value or its last words."""
        from optuna.trial import TrialState

        digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:12]
        folder = PLACE / self.study.study_name / digest
        settings = with_changes(self.content, changes)
        start = [START] if settings["meta"]["warm_start"] else []
        prepare(folder, settings, "data/episodes", *start)
        words = [*command("meta_train", folder), "--evaluations", "evaluations.csv"]
        with running(words, folder) as process:
            was_pruned = self.watch(trial, process, folder / "evaluations.csv")
        best = self._best(folder / "evaluations.csv")
        if was_pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            result = "pruned", f"{self.metric} {best:.4f}"
        elif process.returncode == 0:
            self.study.tell(trial, best)
            result = "complete", f"{self.metric} {best:.4f}"
        else:
            self.study.tell(trial, state=TrialState.FAIL)
            result = "failed", last_words(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return result

    def watch(self, trial: "optuna.Trial", process: "subprocess.Popen[bytes]", table: Path) -> bool:
        """Report each evaluation of the validation set; True once the pruner ends the trial."""
        seen = 0
        while True:
            is_over = process.poll() is not None
            evaluations = self._evaluations(table)
            for iteration, value in evaluations[seen:]:
                trial.report(value, iteration)
                if trial.should_prune() and not is_over:
                    return True
            seen = len(evaluations)
            if is_over:
                return False
            time.sleep(SECONDS_BETWEEN_GLANCES)

    def _evaluations(self, path: Path) -> list[tuple[int, float]]:
        if not path.is_file():
            return []
        table = pd.read_csv(path)
        return list(zip(table["iteration"], table[f"few_shot {self.metric}"], strict=True))

    def _best(self, path: Path) -> float:
        return max((value for _, value in self._evaluations(path)), default=math.nan)


def chosen(
    trial: "optuna.Trial | optuna.trial.FrozenTrial",
    search: SearchSettings,
    content: dict[str, Any],
) -> dict[str, Value]:
    """Key -> value of a trial, as params.yaml has it."""
    values: dict[str, Value] = {}
    for key, space in search.space.items():
        value: Any
        if not isinstance(space, Range):
            value = trial.suggest_categorical(key, space.choices)
        elif is_whole_number(key, content):
            value = trial.suggest_int(key, int(space.low), int(space.high), log=space.log)
        else:
            value = trial.suggest_float(key, space.low, space.high, log=space.log)
        values[key] = as_setting(key, value, content, rounded=isinstance(space, Range))
    return values
