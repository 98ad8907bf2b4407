"""The repository as it stands, copied and made tiny, so that the real pipeline runs in seconds."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from committed import ROOT, committed_tree, settings_text
from filelock import FileLock
from pipeline_files import leaves, stages

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.composites.registry import COMPOSITES

SETTINGS = {
    "inner_lr": 0.1,
    "outer_lr": 0.01,
    "num_inner_steps": 2,
    "meta_batch_size": 4,
    "num_meta_iterations": 6,
    "eval_interval": 3,
    "checkpoint_interval": 3,
    "tuned.num_meta_iterations": 6,
    "tuned.eval_interval": 3,
    "tuned.num_inner_steps": 2,
    "data.synthetic.learners": 400,
    "data.synthetic.courses": 30,
    "episodes.train_fraction": 0.6,
    "episodes.validation_fraction": 0.2,
    "episodes.test_fraction": 0.2,
    "model.embedding_dim": 8,
    "model.hidden_dim": 16,
    "baselines.models": list(BASELINES),
    "composites.models": list(COMPOSITES),
    "baselines.gru.epochs": 1,
    "baselines.gru_tuned.hidden_dim": 16,
    "baselines.gru_tuned.epochs": 1,
    "composites.gru_fine_tuned.rates": [0.1],
    "composites.gru_fine_tuned.bias_rates": [3.0],
    "composites.gru_fine_tuned.steps": [1],
    "composites.gru_fine_tuned.adapt_on": ["sessions"],
    "composites.mixture.updates": 3,
    "composites.mixture.learners": 4,
    "composites.gru_further.epochs": 1,
    "composites.gru_further.updates": 2,
    "composites.gru_further.batch_size": 4,
    "baselines.sasrec.dim": 8,
    "baselines.sasrec.epochs": 1,
    "ablations.support_sizes": [1, 3],
    "ablations.inner_steps": [1, 2],
    "ablations.control_repeats": 2,
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "hardware.processes": 1,
}


SECONDS = 300  # that one command may take
MARK = "MOOC_MAML_TINY_PROJECT"  # tells the processes of a project, detached ones too


@dataclass(frozen=True)
class Project:
    """A working copy with its own git repository and its own DVC cache."""

    path: Path

    def run(self, *command: str, succeeds: bool = True, seconds: float = SECONDS) -> str:
        """What a command says, errors too; fails if its exit status is not as expected.

        It also fails, and ends all processes of the project, when the command takes too long. The
        output goes to a file: a detached process that holds a pipe would keep us waiting for it.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status: int | str = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = f"still running after {seconds} s"
            finally:
                if process.poll() is None:
                    self.end()
                    process.wait(10)
            said.seek(0)
            output = said.read()
        is_expected = (status == 0) if succeeds else isinstance(status, int) and status != 0
        assert is_expected, f"{command}: {status}:\n{output}"
        return output

    def end(self) -> None:
        """Kill what still runs in the project; DVC's queue workers live on by themselves."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()

    def processes(self, program: str = "") -> list[psutil.Process]:
        """What runs in the project: all of it, or those that are Python running a module."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                is_ours = process.environ().get(MARK) == str(self.path)
                if is_ours and (not program or process.cmdline()[1:3] == ["-m", program]):
                    found.append(process)
        return found

    def environment(self) -> dict[str, str]:
        """As a user has it, and marked."""
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        who = {"NAME": "A Tester", "EMAIL": "tester@example.org"}
        return {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            **{
                f"GIT_{role}_{key}": value
                for role in ("AUTHOR", "COMMITTER")
                for key, value in who.items()
            },
            "PATH": programs,
            "GIT_CONFIG_GLOBAL": os.devnull,
            MARK: str(self.path),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.path / ".dvc" / "tmp" / "site"),
        }

    def dvc(self, *arguments: str, succeeds: bool = True) -> str:
        return self.run("dvc", *arguments, succeeds=succeeds)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def dvc_json(self, *arguments: str) -> Any:
        """What a DVC command says with --json; notices before it are left out."""
        said = self.dvc(*arguments, "--json")
        return json.loads(said[said.index("{") :])

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def read_json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def params(self) -> dict[str, Any]:
        return leaves(yaml.safe_load((self.path / "params.yaml").read_text(encoding="utf-8")))

    def copy(self, path: Path) -> "Project":
        """The same with its cache, for a test to do with as it likes."""
        shutil.copytree(self.path, path, symlinks=True)
        return Project(path)

    def fresh_clone(self, path: Path) -> "Project":
        """What somebody else gets: no data, no models, no cache."""
        self.git("clone", "--quiet", str(self.path), str(path))
        return Project(path)


def tiny_project(path: Path) -> Project:
    """Copy what git tracks, and what it would, as it is on disk now; commit tiny settings.

    Settings and results are those of the last commit, and raw files of a user's own (*.dvc) stay.
    """
    committed_tree(path, "dvc.lock", "results")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        is_own = name == "dvc.lock" or name.startswith("results/") or name.endswith(".dvc")
        if not is_own and (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    project = Project(path)
    (path / "params.yaml").write_text(settings_text(), encoding="utf-8")
    set_params(project, SETTINGS)
    project.git("init", "--quiet")
    project.commit("Tiny settings")
    return project


def done_project(temporary: pytest.TempPathFactory) -> Project:
    """A copy of the tiny project in which `dvc repro` has run, its results committed.

    The first that asks for it makes it; the other workers of pytest-xdist wait for it.
    """
    base = temporary.getbasetemp()  # of one worker
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pipeline"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            project = tiny_project(temporary.mktemp("pipeline") / "made")
            said = project.dvc("repro")
            assert said.count("Running stage") == len(stages())
            project.commit("Results")
            project.path.rename(shared)
    return Project(shared).copy(temporary.mktemp("pipeline") / "done")


def set_params(project: Project, changes: Mapping[str, Any]) -> None:
    """Change settings by their dotted keys."""
    file = project.path / "params.yaml"
    content = changed(yaml.safe_load(file.read_text(encoding="utf-8")), changes)
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def changed(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings themselves, with some changed by their dotted keys."""
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        assert name in place, key
        place[name] = value
    return content
