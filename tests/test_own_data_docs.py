"""docs/own_data.md: settings and commands in its order; they say what the page shows."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from committed import ROOT, settings
from pipeline_files import leaves
from tiny import Project, changed, set_params, tiny_project

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.settings.params import parse_params

TEXT = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|yaml|text)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
# Of the whole run: two models, so that the stages, which are what is tried, take seconds.
FEW_MODELS = {"baselines.models": ["popularity", "gru"], "composites.models": []}
SPLIT = ("episodes.train_fraction", "episodes.validation_fraction", "episodes.test_fraction")


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def shown(number: int) -> Iterator[str]:
    """What the page shows of a block's output, line by line."""
    following = BLOCKS[number + 1 : number + 2]
    return (words(line) for kind, text in following if kind == "text" for line in text.splitlines())


def test_the_page_runs_whatever_it_shows() -> None:
    fenced = re.findall(r"^```(\w*)$", TEXT, re.MULTILINE)
    assert fenced.count("") == len(BLOCKS) + 2  # ends of these, and the head of the file
    assert [kind for kind, _ in BLOCKS].count("bash") == 8
    assert sum(len(list(shown(n))) for n, (kind, _) in enumerate(BLOCKS) if kind == "bash") == 9


def test_reading_and_building_say_what_the_page_shows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first four steps without DVC, which takes a second in place of many."""
    from mooc_maml.preprocess.account import PreprocessResult, show_account

    content = settings()
    subprocess.run(["bash", "-c", BLOCKS[0][1]], cwd=tmp_path, check=True)
    for number, (kind, text) in enumerate(BLOCKS[1:], 1):
        if kind == "yaml":
            content = changed(content, leaves(yaml.safe_load(text)))
        params = parse_params(content)
        if kind != "bash" or not text.startswith("dvc repro "):
            continue
        try:
            if "preprocess" in text:
                pairs = tmp_path / f"pairs{number}"
                found = preprocess(tmp_path / "data/raw/table", pairs, params, tell=print)
                show_account(PreprocessResult.model_validate(found))
            else:
                _, account = build_episodes(read_steps(pairs), params)
                counts = account["episodes"].items()
                print("episodes: " + ", ".join(f"{count} {name}" for name, count in counts))
        except UserError as error:
            print("error:", error)
        said = capfd.readouterr()
        for line in shown(number):
            assert line in words(said.out + said.err)


def run(project: Project, text: str, fails: bool) -> str:
    return project.run("bash", "-ec", text, succeeds=not fails, seconds=600)


@pytest.mark.thorough
def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "project")
    default = leaves(settings())
    set_params(project, {key: default[key] for key in SPLIT} | FEW_MODELS)
    asked = ""
    for number, (kind, text) in enumerate(BLOCKS):
        if kind == "yaml":
            set_params(project, leaves(yaml.safe_load(text)))
        elif kind == "bash":
            lines = list(shown(number))
            said = words(run(project, text, fails="error:" in "".join(lines)))
            for line in lines:
                assert line in said
            asked = said if "mooc-maml recommend --courses" in text else asked
    answer = (project.path / "results" / "report" / "answer.md").read_text(encoding="utf-8")
    assert "from 1 run on 16 test learners" in answer
    assert "Lineare Algebra" in asked
    rows = (project.path / "recommended.csv").read_text(encoding="utf-8").splitlines()
    assert {row.split(",")[0] for row in rows[1:]} == {"tn001", "new"}
    titles = project.path / "data" / "titles.csv"
    titles.write_text(titles.read_text().replace("Logik a", "Logica a"))
    (again,) = re.findall(r"`(dvc repro --force [^`]+)`", TEXT)
    run(project, again, fails=False)
    assert "Logica a" in project.run("mooc-maml", "courses", "--search", "logica")
    shutil.rmtree(project.path)
