"""Ctrl-C in the first seconds of a program, while its modules are imported."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_files import ROOT

STOPPED = "stopped by Ctrl-C; run the same command again to go on"
PROGRAMS = [
    f"{path.parent.name}.{path.stem}"
    for folder in ("stages", "experiments", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "main_guard(" in path.read_text(encoding="utf-8")
    and path.stem not in ("shown", "gpu")  # which import nothing that takes a moment
]
# Moments, in order: `stages.test` has just imported this.
MODULES = ["stages", "numpy", "pandas", "torch._C", "torch", "mooc_maml.ranking.seen"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no Ctrl-C from another process")


def interrupted(program: str, module: str, folder: Path) -> "tuple[int, list[str]]":
    """Exit status and last words of a program that meets Ctrl-C once it has imported a module."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", program, "--help"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        found = (name_of(line) == module for line in process.stderr)
        assert any(found), f"{program} does not import {module}"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().splitlines()
    return process.returncode, [line for line in said if not name_of(line)]


def name_of(line: str) -> str:
    """Of the module whose import a line of -X importtime tells; "": it tells something else."""
    return line.rpartition("|")[2].strip() if line.startswith("import time:") else ""


@pytest.mark.parametrize(
    "module",
    [
        name if name == "torch" else pytest.param(name, marks=pytest.mark.thorough)
        for name in MODULES
    ],
)
def test_it_is_one_line_whatever_is_being_imported(module: str, tmp_path: Path) -> None:
    assert interrupted("stages.test", module, tmp_path) == (130, [STOPPED])


@pytest.mark.thorough
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_one_line_in_every_program(program: str, tmp_path: Path) -> None:
    assert interrupted(program, "numpy", tmp_path) == (130, [STOPPED])
