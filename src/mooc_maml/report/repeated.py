"""The results of several seeds, which `python -m experiments.seeds` gathers."""

from pathlib import Path
from typing import Any

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_json
from mooc_maml.settings.params import Params


def shared_settings(params: Params) -> dict[str, Any]:
    """Settings that results must have in common to be repetitions: all but seeds and machine."""
    content = params.model_dump(mode="json", exclude={"seed", "hardware", "ablations"})
    del content["episodes"]["split_seed"]
    return content


def read_seeds(path: Path, params: Params) -> dict[str, Any] | None:
    """The file's content; None where there is none, or one of other settings.

    Raises:
        UserError: it is no file of that program.
    """
    if not path.is_file():
        return None
    content = read_json(path)
    missing = {"settings", "seeds", "varied", "models", "test_set_read"} - set(content)
    if missing:
        raise UserError(f"{path}: key {min(missing)} is missing; delete the file or make it anew")
    found: dict[str, Any] = content
    return found if found["settings"] == shared_settings(params) else None
