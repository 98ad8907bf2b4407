"""The commands of docs/notebooks.md, in the environment that a notebook gives its shell."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from committed import ROOT
from tiny import Project, done_project

# What Colab sets for `!COMMAND`, as far as it could matter here.
COLAB = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONPATH": "/env/python",
    "PYTHONWARNINGS": "ignore:::pip._internal.cli.base_command",
    "JPY_PARENT_PID": "1",
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "LANG": "en_US.UTF-8",
}


# Program of the environment -> how this test's own Python runs it.
PROGRAMS = {
    "python": "",
    "dvc": "-m dvc",
    "jupytext": "-m jupytext",
    "jupyter-execute": "-c 'from nbclient.cli import main; main()'",
}


def cells() -> list[str]:
    """The lines of the page's code blocks."""
    text = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    return [
        line
        for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)
        for line in block.split("\n")
    ]


def commands() -> list[str]:
    return [line[1:] for line in cells() if line.startswith("!")]


def test_the_page_names_what_there_is() -> None:
    targets = [word for line in commands() for word in re.findall(r"make (\w+)", line)]
    assert targets == ["setup", "repro"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    assert "docs/notebooks.md" in (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r'"(results/[^"]+)"', "\n".join(cells())):
        assert (ROOT / path).is_file(), path


def with_environment(project: Project) -> Path:
    """Stand-in for what `make setup` makes: programs of this test's own environment."""
    programs = project.path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in PROGRAMS.items():
        start = f'exec "{sys.executable}" {module}'
        text = f'#!/bin/sh\n# {programs}/python\n{start} "$@"\n'
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (project.path / ".venv" / ".installed").touch()
    return programs


@pytest.mark.thorough
def test_the_commands_run_in_a_notebook(tmp_path_factory: pytest.TempPathFactory) -> None:
    project = done_project(tmp_path_factory)
    with_environment(project)
    run = [line for line in commands() if not re.match("git clone|pip install", line)]
    said = {}
    for line in (re.sub(r"\$\(uv .*?\)", sys.executable, line) for line in run):
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=project.path,
            env=project.environment() | COLAB,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        said[line] = done.stdout
    assert (
        "Stage 'visualize' didn't change" in said["make repro"] or "Running" in said["make repro"]
    )
    (shown,) = (line for line in run if "experiments.shown" in line)
    assert said[shown].startswith("NDCG@10 in percent")
    notebook = json.loads((project.path / "tutorial.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs), "it was run"
