"""Stages in folders of their own, each with its own settings, beside the workspace's results."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mooc_maml.common.errors import UserError
from mooc_maml.runtime.pipeline import ROOT, filled_in, read_pipeline
from mooc_maml.settings.params import load_params, parse_params


def bring_up_to_date(stage: str) -> None:
    """Let DVC run a stage of the workspace, and what it depends on, where they are stale.

    Raises:
        UserError: a stage failed; it has said why itself.
    """
    load_params("params.yaml")
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", stage], check=False)
    if done.returncode:
        raise UserError(f"`dvc repro {stage}` failed; mend that first")


def with_changes(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as in params.yaml, some of them changed by their dotted keys, and checked.

    Raises:
        UserError: a value is not allowed.
    """
    copy: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(settings)))
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = copy
        for section in sections:
            place = place[section]
        place[name] = value
    parse_params(copy)
    return copy


def prepare(folder: Path, settings: Mapping[str, Any], *inputs: str) -> None:
    """Make a folder that stages can run in: its settings, and links to the workspace's inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
    for name in inputs:
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(name).resolve(), target_is_directory=Path(name).is_dir())


def command(stage: str, folder: Path) -> list[str]:
    """The stage's command in dvc.yaml, with the settings of the folder filled in."""
    settings = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    text = filled_in(read_pipeline()[stage]["cmd"], settings)
    return [sys.executable, *shlex.split(text)[1:]]


@contextmanager
def running(words: Sequence[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A stage at work, its words in said.txt; asked to stop at the end if it has not ended."""
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def last_words(folder: Path) -> str:
    """What a stage said last."""
    lines = (folder / "said.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "nothing"
