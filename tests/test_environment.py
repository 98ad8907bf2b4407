"""Programs in an environment that others have set up: notebooks, clusters, odd locales, no home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_files import ROOT

DRAWS = """
import stages
from pathlib import Path
from mooc_maml.report.figures import new_figure
with new_figure(Path("figure.png"), 4, 3, "课程") as figure:
    figure.text(0.5, 0.5, "é")
import matplotlib, matplotlib.pyplot
print(matplotlib.get_backend())
"""


def said_by(code: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a folder, from the checkout's code, with some variables set."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense"])
def test_a_stage_draws_whatever_backend_a_notebook_names(tmp_path: Path, backend: str):
    done = said_by(DRAWS, tmp_path, MPLBACKEND=backend)
    assert (done.returncode, done.stdout.lower()) == (0, "agg\n"), done.stderr
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_stage_draws_without_a_home(tmp_path: Path):
    done = said_by(DRAWS, tmp_path, HOME="/dev/null", TMPDIR=str(tmp_path), MPLCONFIGDIR="")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figure.png").exists()


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "active")]
)
def test_waiting_threads_leave_the_cores_to_others_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str
):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code = "import sys, stages, os; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    done = said_by(code, tmp_path, **given)
    assert done.stdout.split() == ["False", expected], "it is read when torch is loaded"


PRINTS = """
import sys
from mooc_maml.common.errors import UserError, main_guard
def main():
    print("课程 é")
    raise UserError("课程.csv: line 1")
main_guard(main)
"""


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_names_that_the_terminal_cannot_show_do_not_end_a_run(tmp_path: Path, locale):
    (tmp_path / "prints.py").write_text(PRINTS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "prints.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **locale},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, "of the UserError"
    assert done.stdout.startswith(rb"\u8bfe\u7a0b ")
    assert done.stderr == b"error: \\u8bfe\\u7a0b.csv: line 1\n"


SETS_UP = """
import torch
from pathlib import Path
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import HardwareParams
settings = {"device": "cpu", "threads": 2, "processes": "auto"}
setup(HardwareParams(**settings, tasks_at_once=1, precision="float32", cuda_graphs=False))
print(torch.get_num_threads(), torch.ones(3).sum().item())
"""


@pytest.mark.parametrize("threads", ["7", "many", "100000000"])
def test_hardware_threads_counts_whatever_the_environment_says(tmp_path: Path, threads: str):
    done = said_by(SETS_UP, tmp_path, PYTHONPATH=str(ROOT / "src"), OMP_NUM_THREADS=threads)
    assert (done.returncode, done.stdout) == (0, "2 3.0\n"), done.stderr


def test_the_checkouts_own_code_runs_whatever_pythonpath_says(tmp_path: Path):
    other = tmp_path / "mooc_maml"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('the wrong one')")
    code = "import stages, mooc_maml; print(mooc_maml.__file__)"
    done = said_by(code, ROOT, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == str(ROOT / "src" / "mooc_maml" / "__init__.py"), done.stderr
