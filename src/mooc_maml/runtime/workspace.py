"""The git-ignored folder at the root that outlives stages, outputs and experiments."""

from pathlib import Path

STATE = ".state"


def state_folder() -> Path:
    """That of the workspace itself, also for an experiment that DVC runs in a copy of it."""
    here = Path.cwd().resolve()
    if ".dvc" in here.parts:  # .dvc/tmp/exps/...: a copy that DVC made for one experiment
        here = Path(*here.parts[: here.parts.index(".dvc")])
    return here / STATE
