"""What a run was made with, and a list of everything that it made."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mooc_maml.errors import UserError
from mooc_maml.files import sha256
from mooc_maml.report.inputs import Inputs

_PACKAGES = ("torch", "dvc", "numpy", "duckdb", "pandas", "pyarrow", "matplotlib", "mooc-maml")
_TAG = re.compile(r"_K(\d+)(?:_Q(\d+))?(?=\.|$)")


def configuration(inputs: Inputs) -> dict[str, Any]:
    """All settings and the versions that the run was made with; nothing that depends on time."""
    return {
        "data_source": inputs.maml["data_source"],
        "synthetic": inputs.synthetic,
        "method": inputs.method,
        "threads": inputs.params.hardware.threads,
        "settings": inputs.params.model_dump(mode="json"),
        "versions": {"python": platform.python_version()}
        | {package: _version(package) for package in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a stage also runs without DVC
        return "not installed"


def artefacts(folders: list[Path], root: Path, support: int, query: int) -> list[dict[str, Any]]:
    """Every file below `folders` with its size in bytes and its sha256, in order of path.

    Hidden files are left out, and so are files whose name belongs to other sizes of episode
    (maml_K10_Q20.json in a run with K = 5): an earlier run with other settings made those.

    Args:
        folders: folders to walk through.
        root: paths are given relative to this folder, with forward slashes.
        support: K of this run.
        query: Q of this run.

    Raises:
        UserError: one of the folders does not exist.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; run `dvc repro` to make it")
        for path in folder.rglob("*"):
            place = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in place.parts)
            if path.is_file() and not hidden and _of_this_run(path.name, support, query):
                found.append(path)
    return [
        {
            "path": Path(os.path.relpath(path, root)).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in sorted(set(found))
    ]


def _of_this_run(name: str, support: int, query: int) -> bool:
    tag = _TAG.search(name)
    return tag is None or (int(tag[1]) == support and tag[2] in (None, str(query)))
