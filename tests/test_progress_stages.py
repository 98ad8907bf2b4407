"""What each long stage tells of its progress: all parts of the plan, each to its last step."""

import re
from pathlib import Path

import pytest
from bundle_helpers import CPU, STORE, made, small_params
from training_helpers import tiny_trainer

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import train_and_test
from mooc_maml.common import progress
from mooc_maml.common.progress import following
from mooc_maml.composites.registry import COMPOSITES
from mooc_maml.evaluation.controls import negative_controls
from mooc_maml.evaluation.curves import curves
from mooc_maml.meta.run import run_meta_training
from mooc_maml.runtime.run_state import RunState

pytestmark = pytest.mark.usefixtures("one_thread")
LINE = re.compile(r"(\w+): (?:(\w+)(?: \((\d+) of (\d+)\))?, )?([\d,]+) of ([\d,]+) (.*?)(?:, |$)")


@pytest.fixture(autouse=True)
def a_line_a_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.chdir(tmp_path)


def last_lines(said: str) -> dict[int, tuple[str, str, int, int]]:
    """Number in the plan -> stage, name, steps done and steps in all of the part's last line."""
    found = {}
    for line in said.splitlines():
        if match := LINE.match(line):
            stage, name, number, _, done, total, _ = match.groups()
            found[int(number or 0)] = stage, name, *(int(x.replace(",", "")) for x in (done, total))
    return found


def number_of_parts(said: str) -> int:
    return max(int(x) for x in re.findall(r"\(\d+ of (\d+)\)", said))


def test_every_ranking_of_test_is_in_the_plan(capsys) -> None:
    contenders = made().contenders
    with following("test", contenders.plan()):
        names = [name for name, _ in contenders.answers("test")]
        contenders.validation()
    parts = last_lines(capsys.readouterr().err)
    assert sorted(parts) == list(range(1, len(contenders.plan()) + 1))
    sizes = {name: len(STORE.episodes[name]) for name in ("test", "validation")}
    assert [parts[i + 1] for i in range(len(names))] == [
        ("test", name, sizes["test"], sizes["test"]) for name in names
    ]
    again = [parts[i][1] for i in range(len(names) + 1, len(parts) + 1)]
    assert set(names) - set(again) == {"mixture", "mixture_zero_shot", "pool"}, (
        "left out, not ranked"
    )
    assert parts[len(parts)][2:] == (sizes["validation"],) * 2


@pytest.mark.parametrize("stage", ["ablate", "controls"])
def test_the_stages_after_test_go_through_their_plan(stage: str, capsys) -> None:
    contenders, params = made().contenders, made().run.params
    if stage == "ablate":
        own = contenders.meta
        curves(contenders.ranker, own, contenders.baseline_scorers, params, tuned=own)
    else:
        negative_controls(contenders, params)
    said = capsys.readouterr().err
    parts = last_lines(said)
    assert sorted(parts) == list(range(1, number_of_parts(said) + 1))
    assert all(own == stage and done == total for own, _, done, total in parts.values())
    assert said.splitlines()[-1].endswith(" left"), "all has been timed by then"


def test_training_tells_of_every_long_model(capsys) -> None:
    params = small_params(
        baselines={"gru": {"epochs": 2}},
        composites={"gru_further": {"epochs": 2, "updates": 2, "batch_size": 4}},
    )
    names: tuple[str, ...] = ("popularity", "gru", "gru_with_history")
    train_and_test(BASELINES, names, STORE, params, CPU, RunState("train_baselines", "", ""))
    parts = last_lines(capsys.readouterr().err)
    pairs = 2 * len(STORE.pairs_of("train"))
    assert parts[2] == ("train_baselines", "gru", pairs, pairs)
    assert parts[3][1:] == ("gru_with_history", pairs, pairs)
    run, contenders = RunState("train_composites", "", ""), made().contenders
    own = {name: contenders.baselines[name] for name in params.baselines.models}
    names = ("blend", "gru_fine_tuned", "gru_further", "pool", "mixture", "mixture_zero_shot")
    train_and_test(COMPOSITES, names, STORE, params, CPU, run, own)
    parts = last_lines(capsys.readouterr().err)
    done = {name: done / total for _, name, done, total in parts.values()}
    assert done.pop("gru_further") <= 1, "early stopping"
    assert done == dict.fromkeys(("blend", "gru_fine_tuned", "pool", "mixture"), 1)


@pytest.mark.parametrize(("patience", "promise"), [(0, ", about "), (100, ", at most about ")])
def test_meta_training_promises_no_more_than_it_knows(
    patience: int, promise: str, capsys, tmp_path: Path
) -> None:
    trainer = tiny_trainer(early_stopping_patience=patience)
    run_meta_training(trainer, RunState("meta_train", "", ""), tmp_path / "m", tmp_path / "p")
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("meta_train: ")]
    assert len(lines) == 12
    assert all(promise in line and "; loss " in line for line in lines)
    assert lines[-1].startswith("meta_train: 12 of 12 meta-updates")
