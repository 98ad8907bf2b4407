"""What the last commit holds, where the files on disk may be a user's own by now.

params.yaml holds the settings that somebody tries; `make repro` writes dvc.lock and results/ again,
with other digits on a machine that rounds otherwise. Tests are about the project as it is shipped.
"""

import io
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mooc_maml.settings.params import ParamsError, parse_params

ROOT = Path(__file__).resolve().parents[1]


def committed_tree(folder: Path, *names: str) -> Path:
    """Write the files and folders of these names (none: all) as the last commit has them.

    Returns:
        The folder; without git, or before the first commit, the repository itself.
    """
    command = ["git", "archive", "--format=tar", "HEAD", *names]
    try:
        packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ROOT
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@cache
def settings_text() -> str:
    """params.yaml of the last commit; as it is on disk while the code reads other keys by now."""
    command = ["git", "show", "HEAD:./params.yaml"]
    try:
        found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
        parse_params(yaml.safe_load(found))
    except (OSError, subprocess.CalledProcessError, ParamsError):
        return (ROOT / "params.yaml").read_text(encoding="utf-8")
    return found


def settings() -> dict[str, Any]:
    """The same as keys and values, for a test to change."""
    content: dict[str, Any] = yaml.safe_load(settings_text())
    return content
