"""What dvc.yaml says of a stage: its command, and the code that its result depends on.

This is the one reader of dvc.yaml in the program; tests and experiments ask it too.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import sha256

ROOT = Path(__file__).resolve().parents[3]  # the checkout whose code runs
CODE_FOLDERS = ("src", "stages")


def read_pipeline(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Stage -> its entry in dvc.yaml; keys of params.yaml in it are not filled in.

    Raises:
        UserError: there is no dvc.yaml, or it names no stages.
    """
    stages: dict[str, dict[str, Any]] = _section("stages", root)
    return stages


def read_plots(root: Path = ROOT) -> list[dict[str, Any]]:
    """The plots of dvc.yaml: title -> how it is drawn, each in a mapping of its own.

    Raises:
        UserError: there is no dvc.yaml, or it names no plots.
    """
    plots: list[dict[str, Any]] = _section("plots", root)
    return plots


def _section(name: str, root: Path) -> Any:
    path = root / "dvc.yaml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))[name]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the stages run from a checkout") from None
    except (yaml.YAMLError, TypeError, KeyError):
        raise UserError(f"{path}: expected a DVC pipeline with {name}; `git diff` it") from None


def tracks(stage: Mapping[str, Any], key: str) -> bool:
    """Whether a change of a setting (`data.source`) makes a stage stale.

    Args:
        stage: its entry in dvc.yaml.
        key: of params.yaml, with dots.
    """
    return any(key == name or key.startswith(f"{name}.") for name in stage.get("params", []))


def outs(
    stage: Mapping[str, Any], kinds: tuple[str, ...] = ("outs", "metrics")
) -> dict[str, dict[str, Any]]:
    """Path -> options ({} if there are none) of what a stage writes."""
    found: dict[str, dict[str, Any]] = {}
    for entry in (entry for kind in kinds for entry in stage.get(kind, [])):
        found |= entry if isinstance(entry, dict) else {entry: {}}
    return found


def is_code(path: str) -> bool:
    """Whether a path of dvc.yaml is code, not data."""
    return path.split("/")[0] in CODE_FOLDERS


def stage_code(*stages: str, root: Path = ROOT) -> list[Path]:
    """The folders and files of code that dvc.yaml lists for some stages, each once."""
    pipeline = read_pipeline(root)
    listed = {dep for stage in stages for dep in pipeline[stage]["deps"] if is_code(dep)}
    return [root / dep for dep in sorted(listed)]


def code_fingerprint(paths: Iterable[Path], root: Path = ROOT) -> str:
    """Hash of every file in some files and folders, by its path from `root`.

    Byte code and what Python leaves beside the code do not count.
    """
    digest = hashlib.sha256()
    for path in sorted({file for place in paths for file in _files(place)}):
        digest.update(f"{path.relative_to(root).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def stage_fingerprint(*stages: str, root: Path = ROOT) -> str:
    """`code_fingerprint` of all code that dvc.yaml lists for some stages."""
    return code_fingerprint(stage_code(*stages, root=root), root)


def _files(place: Path) -> Iterable[Path]:
    found = [place] if place.is_file() else place.rglob("*")
    return (path for path in found if path.is_file() and "__pycache__" not in path.parts)


def filled_in(text: str, settings: Mapping[str, Any]) -> str:
    """Text of dvc.yaml with ${data.source} and the like replaced by settings.

    Args:
        text: such as a stage's command.
        settings: the content of params.yaml.

    Raises:
        UserError: a key that the settings lack.
    """

    def value(key: re.Match[str]) -> str:
        place: Any = settings
        for part in key[1].split("."):
            if not isinstance(place, Mapping) or part not in place:
                raise UserError(f"dvc.yaml: {key[0]}: no such setting in params.yaml")
            place = place[part]
        return str(place)

    return re.sub(r"\$\{([^}]*)\}", value, text)
