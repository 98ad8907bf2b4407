"""The search for hyper-parameters: killed and taken up, pruned, and applied, on a tiny platform."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import committed
import pandas as pd
import pytest
import yaml
from tiny import Project, set_params, tiny_project

from experiments import search as search_program
from experiments import stage_runs
from experiments.search_settings import check_space, load_search, searchable
from experiments.search_trials import Search, chosen, ended
from mooc_maml.common.errors import UserError

SPACE = {"outer_lr": {"choices": [0.02, 0.001]}, "num_inner_steps": {"low": 1, "high": 3}}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = tiny_project(tmp_path / "project")
    set_params(project, {"num_meta_iterations": 90, "eval_interval": 30, "checkpoint_interval": 10})
    settings = {"trials": 2, "startup_trials": 1, "space": SPACE}
    (project.path / search_program.SETTINGS).write_text(yaml.safe_dump(settings))
    project.commit("A search")
    yield project
    project.end()


def until(happened, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def words(project: Project, name: str) -> str:
    """What the running trial has written so far into one of its files."""
    found = list((project.path / ".state" / "search").glob(f"*/*/{name}"))
    return found[0].read_text() if found else ""


def start(project: Project) -> "subprocess.Popen[bytes]":
    with (project.path / "said.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.search"],
            cwd=project.path,
            env=project.environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def trials(project: Project) -> list[tuple[str, dict[str, float], float | None]]:
    optuna = pytest.importorskip("optuna")
    storage = f"sqlite:///{project.path}/.state/search/trials.db"
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    return [(t.state.name, t.params, t.value) for t in ended(study)]


@pytest.mark.thorough
def test_a_killed_search_goes_on_and_ends_in_settings(project: Project) -> None:
    first = start(project)
    until(lambda: words(project, "evaluations.csv").count("\n") >= 3)  # a head and two evaluations
    first.kill()
    first.wait(60)
    second = start(project)
    until(lambda: "going on after meta-update" in words(project, "said.txt"))
    assert second.wait(200) == 0, (project.path / "said.txt").read_text()
    said = (project.path / "said.txt").read_text()
    found = trials(project)
    assert len(found) == 2
    value, best = max((value, number) for number, (state, _, value) in enumerate(found) if value)
    assert f"best of validation: few-shot NDCG@10 {value:.4f}" in said
    steps, rate = found[best][1]["num_inner_steps"], found[best][1]["outer_lr"]
    assert f"dvc exp run -S num_inner_steps={steps} -S outer_lr={rate}" in said
    changed = project.git("status", "--porcelain", "results", "models")
    assert "results/episodes.json" in changed
    assert "maml" not in changed, "the test stage has not run"
    assert not (project.path / "models").joinpath("baselines").exists()

    said = project.run(sys.executable, "-m", "experiments.search", "--apply")
    assert "1/2" not in said, "nothing is left to do"
    assert len(trials(project)) == 2
    assert project.params()["num_inner_steps"] == steps
    assert project.params()["outer_lr"] == rate


@pytest.mark.thorough
def test_a_warm_start_begins_all_trials_with_the_trained_baseline(project: Project) -> None:
    few = {"num_meta_iterations": 4, "eval_interval": 2, "baselines.models": ["popularity", "gru"],
           "composites.models": []}  # fmt: skip
    set_params(project, {"meta.warm_start": True, **few})
    space = {"num_inner_steps": {"choices": [project.params()["num_inner_steps"]]}}
    settings = {"trials": 1, "startup_trials": 1, "space": space}
    (project.path / search_program.SETTINGS).write_text(yaml.safe_dump(settings))
    said = project.run(sys.executable, "-m", "experiments.search")
    ((state, _, found),) = trials(project)
    assert state == "COMPLETE", said
    assert (project.path / "models" / "baselines" / "gru.pth").is_file()
    assert not (project.path / "models" / "maml").exists()
    project.dvc("repro", "meta_train")
    curve = pd.read_csv(project.path / "results" / "plots" / "validation.csv")
    assert found == curve["few_shot NDCG@10"].max(), "the same as in the pipeline"


@pytest.mark.parametrize("key", ["model.hidden_dim", "model.embedding_dim", "model.layers"])
def test_a_warm_start_and_another_size_exclude_each_other(tmp_path: Path, key: str) -> None:
    path = tmp_path / "search.yaml"
    space = {"inner_lr": {"low": 0.01, "high": 0.1}, key: {"choices": [1, 2]}}
    path.write_text(yaml.safe_dump({"trials": 1, "startup_trials": 1, "space": space}))
    content = committed.settings()
    check_space(load_search(path), content, path)
    content["meta"]["warm_start"] = True
    with pytest.raises(UserError, match=rf"space: {key}: .*meta\.warm_start.* take the key out"):
        check_space(load_search(path), content, path)
    del space[key]
    path.write_text(yaml.safe_dump({"trials": 1, "startup_trials": 1, "space": space}))
    check_space(load_search(path), content, path)


def test_a_warm_start_among_the_choices_excludes_another_size_too(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    space = {"meta.warm_start": {"choices": [False, True]}, "model.layers": {"choices": [1, 2]}}
    path.write_text(yaml.safe_dump({"trials": 1, "startup_trials": 1, "space": space}))
    content = committed.settings()
    with pytest.raises(UserError, match=r"space: model\.layers: .*meta\.warm_start.* take the key"):
        check_space(load_search(path), content, path)
    content["meta"]["warm_start"] = True  # which the space overrules
    space["meta.warm_start"] = {"choices": [False]}
    path.write_text(yaml.safe_dump({"trials": 1, "startup_trials": 1, "space": space}))
    check_space(load_search(path), content, path)


def test_words_and_switches_are_drawn_as_they_stand(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    path = tmp_path / "search.yaml"
    path.write_text(
        "trials: 1\nstartup_trials: 1\nspace:\n"
        "  meta.variant: {choices: [anil, context]}\n"
        "  meta.warm_start: {choices: [true, false]}\n"
        "  outer_lr: {choices: [1e-05, 0.00012345]}\n"  # for PyYAML 1e-05 is a word
        "  meta_batch_size: {low: 2, high: 9}\n"
    )
    content, search = committed.settings(), load_search(path)
    check_space(search, content, path)
    drawn = {
        "meta.variant": "context",
        "meta.warm_start": True,
        "outer_lr": "1e-05",
        "meta_batch_size": 7,
    }
    found = chosen(optuna.trial.FixedTrial(drawn), search, content)
    assert found == drawn | {"outer_lr": 1e-05}
    assert found["meta.warm_start"] is True
    found = chosen(optuna.trial.FixedTrial(drawn | {"outer_lr": 0.00012345}), search, content)
    assert found["outer_lr"] == 0.00012345, "a choice is not rounded"


def test_what_can_be_searched_is_what_meta_training_reads() -> None:
    content = committed.settings()
    keys = searchable(content)
    assert {"use_second_order", "max_grad_norm", "model.hidden_dim", "meta.proximal"} <= set(keys)
    sections = {key.split(".")[0] for key in keys if "." in key}
    assert sections == {"model", "meta"}
    assert not {"seed", "eval_interval", "model.dropout", "hardware.threads"} & set(keys)


def test_the_search_that_is_shipped_knows_every_way_to_meta_train() -> None:
    """But first numbers of a variant, which would be in vain for all others."""
    own = {f"meta.{name}" for name in committed.settings()["meta"]}
    of_one = {"meta.first_order_updates", "meta.multi_step_updates", "meta.proximal"}
    space = load_search(ROOT / search_program.SETTINGS).space
    assert {key for key in space if key.startswith("meta.")} == own - of_one


@pytest.mark.parametrize("value", [0.1, 0.5])
def test_a_trial_below_the_median_is_ended_early(tmp_path: Path, monkeypatch, value) -> None:
    """Two trials had 0.2 and 0.4 after 50 meta-updates; before those nothing is judged."""
    optuna = pytest.importorskip("optuna")
    monkeypatch.chdir(ROOT)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=50)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for other in (0.2, 0.4):
        trial = study.ask()
        trial.report(other, 50)
        study.tell(trial, other)
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump({"trials": 3, "startup_trials": 2, "space": SPACE}))
    search = Search(study, load_search(path), committed.settings())
    evaluations = f"iteration,few_shot NDCG@10\\n0,0.01\\n50,{value}\\n"
    work = f"import time; open('evaluations.csv', 'w').write('{evaluations}'); time.sleep(3)"
    with stage_runs.running([sys.executable, "-c", work], tmp_path) as process:
        was_pruned = search.watch(study.ask(), process, tmp_path / "evaluations.csv")
    assert was_pruned is (value < 0.3)
    assert process.returncode == (-signal.SIGTERM if was_pruned else 0)


def test_the_search_that_is_shipped_can_be_run(tmp_path: Path) -> None:
    name = search_program.SETTINGS
    path = committed.committed_tree(tmp_path, str(name)) / name
    search, content = load_search(path), committed.settings()
    check_space(search, content, path)
    assert search_program.study_name(search, content) != search_program.study_name(
        search, content | {"seed": 1}
    )


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"inner_lrr": {"low": 1, "high": 2}},
            "inner_lrr: cannot be searched, since meta_train",
        ),
        ({"seed": {"low": 1, "high": 2}}, "seed: cannot be searched, since the best of several"),
        ({"episodes.stride": {"choices": [1, 2]}}, "compared on different learners or queries"),
        (
            {"data.files": {"choices": ["a"]}},
            "allowed: use_second_order, inner_lr, inner_lr_bias",
        ),
        ({"meta.variant": {"choices": ["maml", "mamil"]}}, "meta.variant: found 'mamil'"),
        ({"meta.variant": {"low": 1, "high": 2}}, "meta.variant: found 1.0"),
        ({"meta.warm_start": {"choices": [True, 1]}}, "meta.warm_start: found 1"),
        ({"inner_lr": {"low": 2, "high": 1}}, "low must be below high, found 2 and 1"),
        ({"inner_lr": {"low": 0, "high": 1, "log": True}}, "low must be above 0, found 0"),
        ({"inner_lr": {"low": 0, "high": 1}}, "inner_lr: found 0.0; expected a number above 0"),
        ({"num_inner_steps": {"low": 1, "high": 2.5}}, "num_inner_steps: found 2.5"),
        ({"model.hidden_dim": {"choices": []}}, "at least 1 item"),
        ({"inner_lr": {"low": "much", "high": 1}}, "expected a number"),
        ({}, "at least 1 item"),
    ],
)
def test_a_space_that_cannot_be_searched_is_named(tmp_path: Path, space, said: str) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump({"trials": 1, "startup_trials": 1, "space": space}))
    content = committed.settings()
    with pytest.raises(UserError, match=r"search\.yaml: ") as raised:
        check_space(load_search(path), content, path)
    assert said in str(raised.value)


def test_without_optuna_one_line_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[search\]'"):
        search_program.main(search_program.SETTINGS, False)
