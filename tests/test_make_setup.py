"""`make setup` and `make repro` before any stage: what is said, and when .venv is made again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pipeline_files import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this system")

# Stands for a Python, its venv and its pip: writes down what it is told, and makes what they make.
PYTHON = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
*"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; rm -f .venv/bin/dvc ;;
*"-r requirements.lock"*)
  {pip}
  printf '#!%s/.venv/bin/python\\n' "$PWD" > .venv/bin/dvc; chmod +x .venv/bin/dvc ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What make reads, in a folder with a blank in its name, and a Python that installs nothing."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    give_python(folder)
    return folder


def give_python(folder: Path, pip: str = "") -> None:
    path = folder.parent / "python"
    path.write_text(PYTHON.format(log=folder.parent / "told", pip=pip), encoding="utf-8")
    path.chmod(0o755)


def make(folder: Path, target: str = "setup", python: str = "") -> tuple[int, str, list[str]]:
    """Exit status, what was said, and what the Python was told."""
    told = folder.parent / "told"
    told.write_text("")
    done = subprocess.run(
        ["make", f"PYTHON={python or folder.parent / 'python'}", target],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, told.read_text().splitlines()


def test_setup_says_what_it_does_and_does_it_once(clone: Path):
    status, said, told = make(clone)
    before, after = said.splitlines()
    assert status == 0
    assert before.startswith("setup: installing the packages of requirements.lock into .venv")
    assert after.startswith("setup: done in ")
    assert [line.split()[1:] for line in told if "venv" in line and "-m" in line] == [
        ["venv", ".venv"]
    ]
    assert make(clone)[2] == []


def test_a_moved_clone_is_set_up_again(clone: Path):
    make(clone)
    moved = clone.rename(clone.with_name("moved clone"))
    status, said, told = make(moved)
    assert status == 0
    assert "since this folder was moved" in said
    assert "-m venv --clear .venv" in told
    assert make(moved)[2] == []


@pytest.mark.parametrize("python", ["/no/such/python", "false"])
def test_a_wrong_python_is_said_before_anything_is_installed(clone: Path, python: str):
    status, said, _ = make(clone, python=python)
    assert status != 0
    assert f"setup: '{python}' is no Python 3.11 with venv; nothing was installed" in said
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("pip", "words"),
    [
        ("echo 'Temporary failure in name resolution'; exit 1", "setup: no network"),
        ("echo 'no space left'; exit 1", "setup: pip failed; all it said is in .venv/setup.log"),
    ],
)
def test_a_failed_installation_is_told_and_tried_again(clone: Path, pip: str, words: str):
    give_python(clone, pip)
    status, said, _ = make(clone)
    assert status != 0
    assert words in said
    give_python(clone)
    assert make(clone)[0] == 0


def test_repro_says_that_there_is_no_git_repository(clone: Path):
    make(clone)
    status, said, _ = make(clone, "repro")
    assert status != 0
    assert "repro: no git repository here" in said
