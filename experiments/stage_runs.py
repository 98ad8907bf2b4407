"""Stages in folders of their own, each with its own settings, beside the workspace's results."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mooc_maml.common.errors import UserError
from mooc_maml.runtime.pipeline import ROOT, filled_in, outs, read_pipeline
from mooc_maml.settings.params import load_params


def stages_for(stage: str, *given: str) -> list[str]:
    """A stage and all that it needs, in the order of work.

    Args:
        stage: the last.
        given: stages that have run already; what they alone need is left out, too.
    """
    pipeline, order = read_pipeline(), list[str]()

    def add(name: str) -> None:
        if name in given or name in order:
            return
        for dep in pipeline[name]["deps"]:
            places = (dep, *map(str, PurePosixPath(dep).parents))  # an output, or in one
            for other, entry in pipeline.items():
                if outs(entry).keys() & set(places):
                    add(other)
        order.append(name)

    add(stage)
    return order


def bring_up_to_date(stage: str) -> None:
    """Let DVC run a stage of the workspace, and what it depends on, where they are stale.

    Raises:
        UserError: a stage failed; it has told why itself.
    """
    load_params("params.yaml")
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", stage], check=False)
    if done.returncode:
        raise UserError(f"`dvc repro {stage}` failed; mend that first")


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
