"""The results of several seeds, which `python -m experiments.seeds` gathers."""

from pathlib import Path
from typing import Any

from mooc_maml.common.results import read_result
from mooc_maml.evaluation.schema import SeedsResult
from mooc_maml.settings.params import Params


def shared_settings(params: Params) -> dict[str, Any]:
    """Settings that results must have in common to be repetitions: all but seeds and machine."""
    content = params.model_dump(mode="json", exclude={"seed", "hardware", "ablations"})
    del content["episodes"]["split_seed"]
    return content


def read_seeds(path: Path, params: Params) -> SeedsResult | None:
    """The file's content; None where there is none, or one of other settings.

    Raises:
        UserError: it is no file of that program.
    """
    if not path.is_file():
        return None
    found = read_result(path, SeedsResult)
    return found if found.settings == shared_settings(params) else None
