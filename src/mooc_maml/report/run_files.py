"""The files of a run, whether it is a git revision, a DVC experiment or the workspace."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from mooc_maml.common.errors import UserError

WORKSPACE = "workspace"
_RECORDS = "data/records"


@dataclass(frozen=True)
class RunFiles:
    """A run: its name as the user gave it, and its commit; None: the workspace."""

    name: str
    commit: str | None
    root: Path

    def read(self, path: str) -> bytes | None:
        """A file that git has, or that lies in the workspace; None where there is none."""
        if self.commit is None:
            place = self.root / path
            return place.read_bytes() if place.is_file() else None
        return _git(self.root, "show", f"{self.commit}:./{path}")

    def settings(self) -> dict[str, Any]:
        """params.yaml, flat: `data.source` -> value.

        Raises:
            UserError: the run has none.
        """
        content = self.read("params.yaml")
        if content is None:
            raise UserError(f"{self.name}: no params.yaml in it; is it a run of this project?")
        return _flat(yaml.safe_load(content))

    def result(self) -> bytes:
        """The test's result file.

        Raises:
            UserError: the run has none.
        """
        own = self.settings()
        sizes = f"K{own.get('episodes.support_size')}_Q{own.get('episodes.query_size')}"
        found = self.read(f"results/maml_{sizes}.json")
        if found is None:
            raise UserError(
                f"{self.name}: no results/maml_{sizes}.json in it; run `dvc repro`, and commit "
                "what it writes to results/"
            )
        return found

    @contextmanager
    def records(self) -> Iterator[Path | None]:
        """Folder of the records of every query; None where DVC's cache has none of this run."""
        if self.commit is None:
            own = self.root / _RECORDS
            yield own if own.is_dir() else None
            return
        with TemporaryDirectory() as folder:
            place = Path(folder) / "records"
            command = ["dvc", "get", "--quiet", ".", _RECORDS, "--rev", self.commit]
            command += ["-o", str(place)]
            try:
                done = subprocess.run(command, cwd=self.root, capture_output=True, check=False)
            except FileNotFoundError:  # no DVC on the path
                yield None
                return
            yield place if done.returncode == 0 and place.is_dir() else None


def open_run(name: str, root: Path) -> RunFiles:
    """Find a run by its name.

    Args:
        name: `workspace`, a git revision, or the name of a DVC experiment.
        root: the repository.

    Raises:
        UserError: there is no such run.
    """
    if name == WORKSPACE:
        return RunFiles(name, None, root)
    experiments = _git(root, "for-each-ref", "--format=%(refname)", "refs/exps") or b""
    refs = [ref for ref in experiments.decode().split() if ref.endswith(f"/{name}")]
    for candidate in (*refs, name):
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
        if commit:
            return RunFiles(name, commit.decode().strip(), root)
    raise UserError(
        f"run '{name}': found neither a git revision nor a DVC experiment of that name; allowed "
        "are these (`git log`, `dvc exp show`) and `workspace`"
    )


def _git(root: Path, *words: str) -> bytes | None:
    """What a git command prints; None where it fails."""
    command = ["git", "-C", str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError("git: not found on this machine; install it to compare runs") from None
    return done.stdout if done.returncode == 0 else None


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict) or not content:
        return {prefix.removesuffix("."): content}
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flat(value, f"{prefix}{key}.")
    return found
