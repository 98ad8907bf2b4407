"""Programs in an environment that others have set up: notebooks, clusters, odd locales, no home."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from committed import settings
from conftest import MakeParams
from pipeline_files import ROOT
from tiny import SETTINGS, changed

from mooc_maml.common.errors import UserError
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.recommend.titles import titles_of
from mooc_maml.sources.listing import list_raw

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


@pytest.mark.parametrize("threads", ["", "0", "many", "100000000"])
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


def test_modules_of_other_programs_do_not_stand_before_ours(tmp_path: Path):
    """A folder of PYTHONPATH with a `numpy` for another Python, as clusters have it."""
    for name in ("random", "numpy", "pydantic"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "extra.py").write_text("")
    command = [sys.executable, "-m", "stages.list_raw", "--help"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout[:6]) == (0, "usage:"), done.stderr


def test_home_may_be_written_as_a_tilde(
    make_params: MakeParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "raw").mkdir()
    lines = [f"ann,{c},2024-01-01 10:0{i}:00" for i, c in enumerate("abca")]
    (tmp_path / "raw" / "log.csv").write_text("\n".join(["learner,course,time", *lines]) + "\n")
    (tmp_path / "titles.csv").write_text("a,Algebra\n")
    own = {"source": "table", "raw": "~/raw", "work": "~/work", "titles": "~/titles.csv"}
    params = make_params(data=own)
    assert [file.name for file in list_raw(tmp_path / "none", params.data).files] == ["log.csv"]
    account = preprocess(tmp_path / "none", tmp_path / "pairs", params)
    assert (account["files"], (tmp_path / "work").is_dir()) == (["log.csv"], True)
    assert titles_of(params, tmp_path / "none") == {"a": "Algebra"}
    with pytest.raises(UserError, match=r"data\.titles: ~nobody-here/t\.csv: no such home folder"):
        titles_of(make_params(data={"titles": "~nobody-here/t.csv"}), tmp_path)
    with pytest.raises(UserError, match=r"data\.files.*another folder is named in data\.raw"):
        make_params(data={"files": "~/raw/log.csv"})


LISTS = """
import yaml
from pathlib import Path
from committed import settings
from mooc_maml.common.errors import main_guard
from mooc_maml.settings.params import parse_params
from mooc_maml.sources.listing import list_raw
main_guard(lambda: print(len(list_raw(Path("raw"), parse_params(settings()).data).files)))
"""


def test_a_locale_that_misreads_names_is_named(tmp_path: Path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "课程.csv").write_text("learner,course,time\n")
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests")))
    c = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": paths}
    done = said_by(LISTS, tmp_path, **c, PYTHONUTF8="0")
    assert done.returncode == 1, done.stdout
    assert "the name is in UTF-8, and the locale has names read as ascii" in done.stderr
    assert "PYTHONUTF8=1" in done.stderr
    assert said_by(LISTS, tmp_path, **c, PYTHONUTF8="1").stdout == "0\n", "as the mend says"


# A mount namespace of its own: nothing that is mounted there is seen elsewhere.
UNSHARE = ("unshare", "--mount", "--propagation", "private", "bash", "-euc")


def needs_mounts() -> None:
    """Skip where a test may not mount anything."""
    try:
        done = subprocess.run([*UNSHARE, "mount -t tmpfs none /mnt"], capture_output=True)
        reason = "" if done.returncode == 0 else done.stderr.decode().strip()
    except OSError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"needs root, or the right to mount: {reason}")


COUNTS = """
import sys
from mooc_maml.recommend.service import metrics
if sys.argv[1] == "reserved":
    metrics.reserve(0)
metrics.count_in(0)
own = metrics.Metrics()
with open("filling", "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError as error:
        print(error.strerror)
for path in metrics._PATHS:
    for status in range(400, 410):
        own.count("GET", path, status, 0.1)
print(own.exposition().decode().count('status="409"'))
"""


@pytest.mark.parametrize(("how", "status"), [("reserved", 0), ("not", -signal.SIGBUS)])
def test_a_full_disk_ends_no_worker_of_the_service(tmp_path: Path, how: str, status: int):
    """The second case is what would happen: the kernel has no page for what is counted."""
    needs_mounts()
    (tmp_path / "counts.py").write_text(COUNTS)
    run = f"mount -t tmpfs -o size=2m none disk; cd disk; exec {sys.executable} ../counts.py {how}"
    (tmp_path / "disk").mkdir()
    here = {"PYTHONPATH": str(ROOT / "src"), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "disk")}
    done = subprocess.run(
        [*UNSHARE, run], cwd=tmp_path, env=os.environ | here, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    if not status:
        assert done.stdout.splitlines() == ["No space left on device", "8"]


WORST = """
mount -t tmpfs -o ro none "$HOME"
mount -t tmpfs -o size=4k none "$TMPDIR"; head -c 4096 /dev/zero > "$TMPDIR/full"
mount -t tmpfs none dev
for name in null zero random urandom; do cp -a /dev/$name dev/; done
mount --move dev /dev
test ! -e /dev/shm
"""
TRAINS = """
for stage in "preprocess --raw raw --pairs pairs --report preprocess.json" \
    "build_episodes --pairs pairs --episodes episodes --report episodes.json" \
    "meta_train --episodes episodes --gru none --model maml --plots plots"; do
  "$PYTHON" -m stages.$stage
done
"""


@pytest.mark.thorough
def test_two_processes_train_the_same_in_the_worst_of_places(tmp_path: Path):
    """No /dev/shm, HOME not to be written to, TMPDIR full, and variables that others left."""
    needs_mounts()
    own = changed(settings(), SETTINGS | {"hardware.processes": 2})
    odd = tmp_path / "a b 课程 100% #1"
    for folder in (odd / "home", odd / "tmp", odd / "dev"):
        folder.mkdir(parents=True)
    shutil.copytree(ROOT / "stages", odd / "stages")
    (odd / "src").symlink_to(ROOT / "src")
    (odd / "params.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    here = {"PYTHON": sys.executable, "PYTHONPATH": ""}
    left = {"RANK": "3", "WORLD_SIZE": "", "LOCAL_RANK": "0", "MASTER_ADDR": "nowhere.invalid"}
    bad = {
        "HOME": str(odd / "home"),
        "TMPDIR": str(odd / "tmp"),
        "MPLBACKEND": "nonsense",
        "OMP_NUM_THREADS": "abc",
        "LC_ALL": "C",
        **left,
    }

    def trained(before: str, **environment: str) -> dict[str, bytes]:
        script = "set -e\n" + before + TRAINS
        done = subprocess.run(
            [*UNSHARE, script], cwd=odd, env=os.environ | environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        made = {
            str(path.relative_to(odd)): path.read_bytes()
            for name in ("pairs", "episodes", "maml")
            for path in sorted((odd / name).rglob("*"))
            if path.is_file()
        }
        for name in ("pairs", "episodes", "maml", ".state"):
            shutil.rmtree(odd / name)
        return made

    simulate = '"$PYTHON" -m stages.simulate --raw raw --truth truth --titles titles.csv\n'
    plain = trained(simulate, **here)
    assert any(name.startswith("maml/") for name in plain)
    assert trained(WORST, **here, **bad) == plain
