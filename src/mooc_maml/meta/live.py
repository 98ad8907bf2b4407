"""Curves of meta-training as it goes, by DVCLive, if the environment asks for them.

A setting would make stages stale that give the same files with it and without, so that it is a
variable of the environment. The folder is no output, and git does not keep it. It is written anew
from the saved state when a run goes on: what a killed one had shown after that state is forgotten.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from mooc_maml.common.errors import UserError
from mooc_maml.meta.train import MODES, Progress

SWITCH = "MOOC_MAML_LIVE"
FOLDER = Path("live")  # a folder a stage
_POINTS = 500  # of the loss, over a whole run


class Log(Protocol):
    """What is used of `dvclive.Live`."""

    step: int

    def log_metric(self, name: str, val: float) -> object:
        """Add a point at `step`."""

    def make_summary(self) -> object:
        """Write the last values."""


class LiveCurves:
    """Hands a run's losses and evaluations on, each once.

    Args:
        log: takes them; None: they go nowhere.
        updates: meta-updates of the whole run, at most.
    """

    def __init__(self, log: Log | None, updates: int) -> None:
        self._log, self._every = log, max(1, updates // _POINTS)
        self._losses = self._evaluations = 0  # handed on

    def show(self, progress: Progress) -> None:
        """Hand on what is new: the mean loss of every so many updates, and each evaluation."""
        log = self._log
        if log is None:
            return
        before = self._losses, self._evaluations
        for evaluation in progress.validation[self._evaluations :]:
            log.step = evaluation["iteration"]
            for mode in MODES:
                for metric, value in evaluation[mode].items():
                    log.log_metric(f"{mode}/{metric}", float(value))
            self._evaluations += 1
        while len(progress.losses) >= self._losses + self._every:
            block = progress.losses[self._losses : self._losses + self._every]
            self._losses += self._every
            log.step = self._losses
            log.log_metric("train_loss", float(np.mean(block)))
        if before != (self._losses, self._evaluations):
            log.make_summary()


@contextmanager
def live_curves(stage: str, updates: int) -> Iterator[LiveCurves]:
    """Open live/STAGE for the curves of a run; without the variable they go nowhere.

    Raises:
        UserError: the curves are asked for and DVCLive is not installed.
    """
    if os.environ.get(SWITCH, "0") in ("", "0"):
        yield LiveCurves(None, updates)
        return
    try:
        from dvclive.live import Live
    except ImportError:
        raise UserError(
            f"{SWITCH}: set, and the package dvclive is not installed; "
            f"pip install -e '.[live]', or unset {SWITCH}"
        ) from None
    with Live(str(FOLDER / stage), save_dvc_exp=False, dvcyaml=None) as log:
        yield LiveCurves(log, updates)
