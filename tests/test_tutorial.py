"""The notebook docs/tutorial.py: runs, shows what came out, stops where it would not hold."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from bundle_helpers import made
from committed import ROOT

from mooc_maml.common.results import read_result, write_result
from mooc_maml.evaluation.schema import TestResult
from mooc_maml.recommend.recommender import Recommender

jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed")
NOTEBOOK = ROOT / "docs" / "tutorial.py"
MODEL = "few_shot"  # of the small bundle, the one that adapts by gradient steps


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder as `make repro` leaves it, of a run that takes seconds."""
    bundle = tmp_path / "models" / "bundle"
    bundle.parent.mkdir()
    bundle.symlink_to(made().folder)
    (tmp_path / "params.yaml").touch()
    write_result(tmp_path / "results" / "maml_K2_Q3.json", made().run.tested)
    return tmp_path


@pytest.fixture
def elsewhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Begin in a folder of the project, as Jupyter does."""
    (project / "docs").mkdir()
    monkeypatch.chdir(project / "docs")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield project
    plt.close("all")


def code() -> list[str]:
    return [cell.source for cell in jupytext.read(NOTEBOOK).cells if cell.cell_type == "code"]


def run_here() -> dict[str, Any]:
    """All cells in this process, but for what only a notebook knows; gives their names."""
    names: dict[str, Any] = {}
    for number, source in enumerate(code()):
        source = re.sub(r"(?m)^%.*$", "", source)
        exec(compile(source, f"docs/tutorial.py, cell {number}", "exec"), names)
    return names


def test_it_shows_the_figures_of_the_test_and_what_steps_change(elsewhere, capsys) -> None:
    names = run_here()
    tested, said = made().run.tested, capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith(MODEL))
    assert re.findall(r"([\d.]+) %", row)[0] == f"{100 * tested.few_shot['HR@1']:.1f}"
    assert names["model"].name == MODEL
    assert names["before"] != names["after"]
    assert f"{names['moved']} of the {len(names['after'])} courses have changed" in said
    assert f"adapted on {made().run.store.support_size} pairs" in said
    (axes,) = names["figure"].axes
    way, listed = names["way"], names["listed"]
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert drawn == [list(way.loc[x]) for x in [*listed, names["a"], names["b"], names["c"]]]
    assert any(own[0] != own[-1] for own in drawn), "places change"


def test_it_stops_where_the_bundle_is_of_another_run(elsewhere: Path) -> None:
    path = elsewhere / "results" / "maml_K2_Q3.json"
    content = json.loads(path.read_text())
    content["few_shot"]["HR@1"] += 0.001
    path.write_text(json.dumps(content))
    with pytest.raises(AssertionError, match="bundle and test are of two runs"):
        run_here()


def test_it_says_where_a_model_does_not_adapt(elsewhere: Path, monkeypatch, capsys) -> None:
    asked = Recommender.recommend

    def stiff(self: Recommender, learners: Any, **how: Any) -> Any:
        own = {"inner_steps": 0} if how["model"] == MODEL else {}
        return asked(self, learners, **(how | own))

    monkeypatch.setattr(Recommender, "recommend", stiff)
    names = run_here()
    assert "no change\n" in capsys.readouterr().out
    assert names["before"] == names["after"]


def executed(folder: Path) -> Any:
    """The notebook, run by a kernel of its own in a folder."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = jupytext.read(NOTEBOOK)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return notebook


def check_outputs(notebook: Any, tested: TestResult) -> None:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    for name in ("gru", "zero_shot", "few_shot"):
        row = next(line for line in said.splitlines() if re.match(rf"{name}\s", line))
        assert f" {100 * tested.models[name]['HR@1']:.1f} % " in row
    pictures = [output.data["image/png"] for output in outputs if "data" in output]
    assert len(pictures) == 1
    assert re.search(r"^[1-9]\d* of the \d+ courses have changed their place$", said, re.MULTILINE)
    assert base64.b64decode(pictures[0]).startswith(b"\x89PNG")


@pytest.mark.thorough
def test_a_kernel_runs_it(project: Path) -> None:
    check_outputs(executed(project), made().run.tested)


@pytest.mark.thorough
def test_a_kernel_runs_it_on_what_make_repro_left() -> None:
    if not (ROOT / "models" / "bundle" / "bundle.json").is_file():
        pytest.skip("no bundle: `make repro` makes it")
    (path,) = (ROOT / "results").glob("maml_K*_Q*.json")
    check_outputs(executed(ROOT), read_result(path, TestResult))
