"""Every way to adapt at full length, on small synthetic pairs, and the tables made of it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from episode_helpers import small_experiment
from training_helpers import CPU, STORE, tiny_params

from experiments import variant_run, variant_tables, variants
from experiments.variant_run import FIRST_ORDER, NAMES, TUNED, Budget, Place
from mooc_maml.common.errors import UserError
from mooc_maml.meta.inner import Weights

BUDGET = Budget((0.1, 1.0), (0.001, 0.1), tries=1, updates=4, interval=2, patience=1)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pairs and settings, which is the current one."""
    small_experiment(
        tmp_path,
        meta_batch_size=4,
        model={"embedding_dim": 4, "hidden_dim": 4, "transformer": {"dim": 4, "blocks": 1}},
        baselines={"gru": {"epochs": 1}, "sasrec": {"epochs": 1}},
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *more: str) -> dict[str, Any]:
    given = ["--pairs=pairs", "--folder=models", "--json=found.json", "--tries=1", "--updates=4"]
    sizes = ["--interval=2", "--patience=1", "--alphas", "0.1", "1", "--betas", "0.001"]
    monkeypatch.setattr(sys, "argv", ["variants", *given, *sizes, *more])
    variants.main()
    found: dict[str, Any] = json.loads(Path("found.json").read_text())
    return found


def test_each_is_chosen_trained_tested_and_not_done_again(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(monkeypatch, "--variants", "maml")
    [row] = first["rows"]
    assert [(x["alpha"], x["beta"]) for x in row["tries"]] == [(0.1, 0.001), (1.0, 0.001)]
    iterations = [x["iteration"] for x in row["evaluations"]]
    assert iterations == [0, 2, 4][: len(iterations)]
    assert (row["updates"], row["best_at"] in iterations) == (iterations[-1], True)
    assert row["seconds_an_update"] > 0
    assert row["peak_mb"] is None or row["peak_mb"] > 50
    for mode in ("zero_shot", "few_shot"):
        own = row["test"][mode]["NDCG@10"]
        assert own["low"] < own["mean"] < own["high"]
    means = {mode: row["test"][mode]["HR@10"]["mean"] for mode in ("zero_shot", "few_shot")}
    others = {"zero_shot": means["zero_shot"], "baseline": first["baseline"]["HR@10"]["mean"]}
    for other, mean in others.items():
        ahead = {x["metric"]: x["difference"] for x in row[f"few_shot_vs_{other}"]}
        assert ahead["HR@10"] == pytest.approx(means["few_shot"] - mean)
    both = run(monkeypatch, "--variants", "maml", FIRST_ORDER)
    assert [x["variant"] for x in both["rows"]] == [FIRST_ORDER, "maml"]
    assert both["rows"][1] == row  # seconds and memory, too: it was not done again
    with pytest.raises(UserError, match=r"found\.json: its rows are made with other budget than"):
        run(monkeypatch, "--patience=2", "--variants", "maml")


def test_a_transformer_begins_with_sasrec_and_what_it_lacks_is_left_out(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(monkeypatch, "--backbone=transformer", "--variants", "anil", "reptile", TUNED)
    assert found["baseline_name"] == "sasrec"
    rows = {row["variant"]: row for row in found["rows"]}
    assert "moves the head alone" in rows["anil"]["left_out"]
    assert "meta.dropout: found 0.3" in rows[TUNED]["left_out"]
    start = rows["reptile"]["evaluations"][0]["zero_shot"]
    Path("found.json").unlink()
    cold = run(monkeypatch, "--backbone=transformer", "--variants", "reptile", "--cold")
    assert f"validation NDCG@10 {start['NDCG@10']:.4f}" in capsys.readouterr().out
    assert cold["rows"][0]["evaluations"][0]["zero_shot"] != start
    assert cold["start"] == "random"


def place(start: Any = None) -> Place:
    base = tiny_params()
    none: dict[str, Any] = {}
    return Place(STORE, base, CPU, start, none, BUDGET, lambda line: None)


def test_the_best_alpha_is_chosen_then_the_best_beta_and_never_one_that_diverged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {(0.1, 0.001): 0.2, (1.0, 0.001): None, (0.1, 0.1): 0.3}
    asked = []

    def tried(own: Any, place: Place) -> float | None:
        asked.append((own.inner_lr, own.outer_lr))
        return values[own.inner_lr, own.outer_lr]

    monkeypatch.setattr(variant_run, "_tried", tried)
    alpha, beta, tries = variant_run.chosen("maml", place())
    assert (alpha, beta) == (0.1, 0.1)
    assert asked == list(values)  # the first beta is not tried twice
    assert [x["few_shot"] for x in tries] == list(values.values())


def test_a_step_size_that_diverges_has_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    own = variant_run.settings("maml", tiny_params(), BUDGET, 0.1, 0.1)
    assert 0 < (variant_run._tried(own, place()) or 0) < 1

    def diverged(trainer: object) -> float:
        raise UserError("not finite")

    monkeypatch.setattr(variant_run.TimedTrainer, "step", diverged)
    assert variant_run._tried(own, place()) is None


@pytest.mark.skipif(not variant_run._PEAK.exists(), reason="only Linux tells it and forgets it")
def test_the_peak_of_memory_is_of_what_ran_since() -> None:
    variant_run._forget_peak()
    before = variant_run._peak_mb() or 0
    large = torch.ones(25_000_000)  # 100 MB
    peak = variant_run._peak_mb() or 0
    assert peak > before + 90
    del large
    assert variant_run._peak_mb() == pytest.approx(peak, rel=0.02)
    variant_run._forget_peak()
    assert (variant_run._peak_mb() or 0) < peak - 90


def test_settings_of_a_run() -> None:
    base = tiny_params(tuned={"meta": {"variant": "maml_plus_plus"}, "num_inner_steps": 1})
    own = {name: variant_run.settings(name, base, BUDGET, 0.5, 0.25) for name in NAMES}
    assert {(x.inner_lr, x.outer_lr, x.num_meta_iterations) for x in own.values()} == {
        (0.5, 0.25, 4)
    }
    assert {name for name, x in own.items() if not x.use_second_order} == {FIRST_ORDER}
    assert {name: x.meta.variant for name, x in own.items()} == {
        **{name: name for name in NAMES},
        FIRST_ORDER: "maml",
        TUNED: "maml_plus_plus",
    }
    assert own[TUNED].num_inner_steps == 1
    # first-order for 1,000 of 12 is 333 of 4; the loss of each step counts for 2,000
    assert own["maml"].meta.first_order_updates == round(1000 * 4 / 12)


def test_training_begins_with_a_copy_of_the_start() -> None:
    start = place().trainer(tiny_params()).backbone.build(STORE.num_courses, tiny_params(), None)
    before: Weights = {name: x.clone() for name, x in start.state_dict().items()}
    trainer = place(start).trainer(tiny_params(num_meta_iterations=1))
    assert all((trainer.weights[name] == x).all() for name, x in before.items())
    trainer.step()
    assert trainer.seconds > 0
    assert any((trainer.weights[name] != x).any() for name, x in before.items())
    assert all((start.state_dict()[name] == x).all() for name, x in before.items())


def test_a_share_keeps_so_many_training_learners_and_all_others() -> None:
    whole = STORE.learner_split
    of = {share: variants.fewer_learners(STORE, share, 1) for share in (0.25, 0.5, 1.0)}
    training = {share: set(np.flatnonzero(x.learner_split == 0)) for share, x in of.items()}
    number = (whole == 0).sum()
    assert [len(x) for x in training.values()] == [
        round(0.25 * number),
        round(0.5 * number),
        number,
    ]
    assert training[0.25] < training[0.5] < training[1.0]
    for share, store in of.items():
        assert set(store.episodes["train"][:, 0]) <= training[share]
        assert ((store.learner_split == whole) | (whole == 0)).all()
        for name in ("validation", "test"):
            assert (store.episodes[name] == STORE.episodes[name]).all()


# --- the tables -----------------------------------------------------------------------------------


def metrics(mean: float) -> dict[str, Any]:
    return {
        "HR@10": {"mean": 2 * mean, "low": 0.0, "high": 1.0},
        "NDCG@10": {"mean": mean, "low": mean - 0.05, "high": mean + 0.05},
    }


def content(*names: str) -> dict[str, Any]:
    def ahead(difference: float) -> list[dict[str, Any]]:
        return [{"metric": "NDCG@10", "difference": difference, "low": -0.01, "high": 0.02}]

    rows = [
        {
            "variant": name, "alpha": 0.1, "beta": 1e-4, "updates": 80, "best_at": 20,
            "stopped_early": name == "maml", "seconds_an_update": 0.234, "peak_mb": 512.3,
            "test": {"zero_shot": metrics(0.3), "few_shot": metrics(0.4)},
            "evaluations": [{"few_shot": {"NDCG@10": x}} for x in (0.31, 0.33, 0.32)],
            "few_shot_vs_zero_shot": ahead(0.1), "few_shot_vs_baseline": ahead(-0.05),
        }
        for name in names
    ]  # fmt: skip
    return {
        "backbone": "gru", "start": "gru", "baseline_name": "gru", "baseline": metrics(0.25),
        "budget": variant_run.of_budget(BUDGET),
        "learners": {"training": 9, "training_with_episodes": 1092, "validation": 150, "test": 131},
        "rows": [*rows, {"variant": "anil", "left_out": "why"}],
    }  # fmt: skip


def test_a_table_tells_figures_cost_and_what_is_missing() -> None:
    text = variant_tables.at_length(content("maml", "context"))
    lines = text.splitlines()
    assert lines[0].startswith("131 test and 150 validation learners, 1,092 training learners")
    assert "begin with the trained GRU" in lines[0]
    assert (
        "α of 0.1, 1 and β of 0.001, 0.1 tried for 1 meta-updates each, then at most 4" in lines[0]
    )
    rows = {
        x[0]: x[1:]
        for x in ([c.strip() for c in y.split("|")[1:-1]] for y in lines[4:] if y[:1] == "|")
    }
    few, zero = "80.0 % / 40.0 % (35.0–45.0)", "60.0 % / 30.0 % (25.0–35.0)"
    ahead = ["+10.0 (−1.0 to +2.0)", "−5.0 (−1.0 to +2.0)"]
    assert rows["GRU, not adapted"][5] == "50.0 % / 25.0 % (20.0–30.0)"
    assert rows["maml"] == [
        "0.1, 0.0001",
        "80, 20",
        "0.23",
        "512",
        "31.0 %, 33.0 %",
        zero,
        few,
        *ahead,
    ]
    assert rows["context"][1] == "80, bound, 20"
    assert "made of: anil." in text
    assert f"Not run: {FIRST_ORDER}, meta_sgd," in text


def test_a_curve_has_a_row_a_size() -> None:
    both, alone = content("maml", TUNED), content("maml")
    text = variant_tables.curve([("10 %", alone), ("30 %", both), ("all", both)])
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    few = ["30.0 % (25.0–35.0)", "40.0 % (35.0–45.0)", "−5.0 (−1.0 to +2.0)"]
    assert rows[2] == ["10 %", "25.0 % (20.0–30.0)", "80, 20", *few, "not run", "", "", ""]
    assert rows[4] == ["all", "25.0 % (20.0–30.0)", "80, 20", *few, "80, bound, 20", *few]
    text = variant_tables.curve([("10 %", alone), ("all", both)])
    assert TUNED not in text, "one point is no curve"
