"""Few learners, few pairs: a clear stop, or a report that says that nothing can be concluded."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import committed
import pytest
import yaml
from conftest import MakeParams
from episode_helpers import small_store
from test_report import write_run
from tiny import SETTINGS, changed

from experiments.stage_runs import command, running
from mooc_maml.common.errors import UserError
from mooc_maml.common.results import plain
from mooc_maml.composites.mixture import Mixture
from mooc_maml.evaluation.schema import TestResult
from mooc_maml.evaluation.statistics import LEAST_LEARNERS
from mooc_maml.report.build import build_report
from mooc_maml.report.findings import results
from mooc_maml.report.inputs import Inputs, read_inputs
from mooc_maml.runtime.pipeline import read_pipeline
from mooc_maml.settings.params import parse_params


def of_learners(root: Path, learners: int) -> Path:
    """Results as the stages write them of so few learners: without any interval."""
    folder = write_run(root)
    for name in ("maml", "controls", "ablations", "cold_start"):
        path = folder / f"{name}_K5_Q10.json"
        content: dict[str, Any] = json.loads(path.read_text()) | {"learners": learners}
        if "intervals_95" in content:
            content["intervals_95"] = {model: {} for model in content["intervals_95"]}
        rows = [row for of in content.get("differences", {}).values() for row in of]
        ablated = [x for key in ("support_sizes", "inner_steps") for x in content.get(key, [])]
        rows += content.get("curves", []) + [x["change"] for x in ablated if "change" in x]
        for row in rows:
            row |= {"low": None, "high": None}
        path.write_text(json.dumps(content))
    return folder


def inputs_of(folder: Path) -> Inputs:
    return read_inputs(folder, parse_params(committed.settings()))


@pytest.mark.parametrize("learners", [1, LEAST_LEARNERS - 1])
def test_of_few_learners_nothing_is_concluded(tmp_path: Path, learners: int) -> None:
    found = results(inputs_of(of_learners(tmp_path, learners)))
    assert found[0].name == "too_few_learners"
    assert f"it has {learners} test learner" in found[0].text
    assert [each.name for each in found[1:]] == ["adaptation", "against_gru", "test_reads"]
    told = " ".join(each.text for each in found[1:])
    assert "cannot be told from so few learners" in told
    assert not re.search(r"95 % interval|more than chance|reached|holds|p = ", told)


def test_of_as_many_as_it_takes_conclusions_are_drawn(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    inputs = inputs_of(folder)
    few = replace(inputs, maml=inputs.maml.model_copy(update={"learners": LEAST_LEARNERS}))
    names = [each.name for each in results(few)]
    assert "too_few_learners" not in names
    assert "target" in names


def test_the_whole_report_without_an_interval(tmp_path: Path) -> None:
    folder = of_learners(tmp_path, 1)
    params = parse_params(committed.settings())
    build_report(params, folder, tmp_path / "models", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Nothing can be concluded from this run: it has 1 test learner" in " ".join(page.split())
    assert not re.search(r"\bnan\b", page)
    table = (tmp_path / "report" / "table.md").read_text(encoding="utf-8")
    assert "| MAML few-shot | 35.0 % | 31.3 % | 36.3 % |" in table


def test_a_gru_without_a_hit_is_not_a_missing_one(tmp_path: Path) -> None:
    inputs = inputs_of(write_run(tmp_path))
    nothing: Any = dict.fromkeys(inputs.maml.improvement_over_gru_percent)
    content = plain(inputs.maml) | {"improvement_over_gru_percent": nothing}
    content["baselines"]["gru"]["HR@1"] = 0.0
    found = results(replace(inputs, maml=TestResult.model_validate_json(json.dumps(content))))
    told = {each.name: each.text for each in found}
    assert "the GRU is at 0.0 % HR@1, of which there is no share" in told["target"]
    assert "no GRU" not in told["target"]
    assert "n.a. relative" not in told["against_gru"]


def test_pool_and_mixture_need_two_validation_learners(make_params: MakeParams) -> None:
    store = small_store()
    one = {**store.episodes, "validation": store.episodes["validation"][:1]}
    with pytest.raises(UserError, match=r"needs 2 of them .* found 1; raise episodes\.validation"):
        Mixture.train(replace(store, episodes=one), make_params(), "cpu", print)  # type: ignore[arg-type]


# --- the stages -------------------------------------------------------------------------------


def write_log(folder: Path, learners: int, events: int, courses: int, pause: int = 60) -> None:
    (folder / "data" / "raw" / "table").mkdir(parents=True)
    with (folder / "data" / "raw" / "table" / "log.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["learner", "course", "time"])
        for learner in range(learners):
            for event in range(events):
                course = (event * (learner % 3 + 1) + event // courses) % courses
                rows.writerow([f"u{learner}", f"c{course}", 1_500_000_000 + pause * event])


def run(folder: Path, **settings: Any) -> tuple[str, str]:
    """The stage that stopped, "" if none did, and what it said."""
    table = {"data.source": "table", "data.table.time_format": "epoch", "data.event_prefixes": []}
    models = {
        "baselines.models": ["popularity", "gru", "markov"],
        "composites.models": ["pool", "mixture", "mixture_zero_shot"],
    }
    own = {key.replace("__", "."): value for key, value in settings.items()}
    content = changed(committed.settings(), SETTINGS | table | models | own)
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    for stage in [name for name in read_pipeline() if name != "simulate"]:
        with running(command(stage, folder), folder) as process:
            status = process.wait(120)
        said = (folder / "said.txt").read_text()
        assert "Traceback" not in said
        if status:
            return stage, said
    return "", said


@pytest.mark.thorough
def test_ten_learners_one_of_them_to_test_on(tmp_path: Path) -> None:
    write_log(tmp_path, 10, 40, 9)
    shares = {"train": 0.7, "validation": 0.2, "test": 0.1}
    stopped, said = run(
        tmp_path,
        **{f"episodes__{name}_fraction": share for name, share in shares.items()},
        composites__models=["pool", "mixture", "mixture_zero_shot"],
    )
    assert stopped == "", said
    report = json.loads((tmp_path / "results" / "report" / "report.json").read_text())
    assert report["learners"] == 1
    assert report["findings"][0]["name"] == "too_few_learners"
    assert all(ends == {} for ends in report["intervals_95"].values())
    rows = [row for of in (report["differences"] | report["controls"]).values() for row in of]
    assert rows
    assert all(row["low"] is None for row in rows)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("log", "stage", "words"),
    [
        ((10, 8, 9), "build_episodes", "found 6 train learners, with at most 7 pairs each"),
        ((10, 40, 1), "build_episodes", "no pair in 10 session steps of 1 courses"),
        ((10, 40, 1, 0), "preprocess", "no session has sessions.min_events = 2 events: all 10"),
        ((2, 40, 6), "build_episodes", "no validation learner has the 5 support + 10 query pairs"),
    ],
    ids=["too few pairs", "one course", "all events the same", "two learners"],
)
def test_what_no_episode_can_be_made_of(
    tmp_path: Path, log: tuple[int, ...], stage: str, words: str
) -> None:
    write_log(tmp_path, *log)
    stopped, said = run(tmp_path)
    assert stopped == stage
    assert words in said.splitlines()[-1]
