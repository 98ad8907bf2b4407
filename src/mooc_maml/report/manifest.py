"""What a run was made with, and a list of everything that it made."""

import hashlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import sha256
from mooc_maml.report.inputs import Inputs

_PACKAGES = ("torch", "dvc", "numpy", "duckdb", "pandas", "pyarrow", "matplotlib", "mooc-maml")
_ROOT = Path(__file__).parents[3]
_TAG = re.compile(r"_K(\d+)(?:_Q(\d+))?(?=\.|$)")


def configuration(inputs: Inputs) -> dict[str, Any]:
    """All settings and the versions that the run was made with; nothing that depends on time."""
    return {
        "data_source": inputs.maml.data_source,
        "synthetic": inputs.synthetic,
        "method": inputs.method,
        "seed": inputs.params.seed,
        "code": {name: git_tree(_ROOT / name) for name in ("src", "stages")},
        "raw_sha256": inputs.preprocess.raw_sha256,
        "pairs_sha256": inputs.preprocess.pairs_sha256,
        "threads": inputs.params.hardware.threads,
        "settings": inputs.params.model_dump(mode="json"),
        "versions": {"python": platform.python_version()}
        | {package: _version(package) for package in _PACKAGES},
    }


def git_tree(folder: Path) -> str:
    """The name that git gives to a folder of these contents: `git rev-parse COMMIT:src`.

    It is found without git and is the same in every clone. A commit that has it holds the code; no
    commit has it where the code was changed and not committed.
    """
    return _git_tree(folder).hex()


def _git_tree(folder: Path) -> bytes:
    entries = []
    for path in folder.iterdir():
        if path.name == "__pycache__" or path.name.endswith((".egg-info", ".pyc")):
            continue
        if path.is_dir() and not any(inner.is_file() for inner in path.rglob("*[!c]")):
            continue  # git knows no empty folder
        if path.is_dir():
            entries.append((f"{path.name}/", b"40000", path.name, _git_tree(path)))
        else:
            mode = b"100755" if os.access(path, os.X_OK) else b"100644"
            entries.append((path.name, mode, path.name, _git_object("blob", path.read_bytes())))
    content = b"".join(
        mode + b" " + name.encode() + b"\0" + digest
        for _, mode, name, digest in sorted(entries, key=lambda entry: entry[0].encode())
    )
    return _git_object("tree", content)


def _git_object(kind: str, content: bytes) -> bytes:
    header = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).digest()


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
