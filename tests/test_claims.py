"""docs/claims.md: its figures are those of the committed results and measurements."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from committed import ROOT, committed_tree

PAGE = " ".join((ROOT / "docs" / "claims.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return committed_tree(tmp_path_factory.mktemp("committed"), "results") / "results"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def is_like(shown: str, value: float, slack: float = 0.02) -> bool:
    """Results of another machine differ a little; the page may then be as it is."""
    return abs(float(shown) - value) <= slack * abs(value) + 0.06


def test_the_winners_are_those_of_the_results(results: Path) -> None:
    found = read(results / "maml_K5_Q10.json")
    shown = {"zero_shot": "14.0", "few_shot": "18.0", "tuned_few_shot": "36.4"}
    for name, words in shown.items():
        assert is_like(words, 100 * found[name]["HR@1"], 0.05), name
        assert f"{words} %" in PAGE
    assert is_like("23.0", 100 * found["baselines"]["gru"]["HR@1"])
    assert is_like("43.1", 100 * found["oracle"]["HR@1"])
    for name, words in (("few_shot", "−5.0"), ("tuned_few_shot", "+13.4")):
        rows = found["differences"][f"{name}_minus_gru"]
        own = next(row for row in rows if row["metric"] == "HR@1")
        assert is_like(words.replace("−", "-"), 100 * own["difference"], 0.2)
        assert f"{words} points" in PAGE


def test_sizes_are_those_of_the_ablation(results: Path) -> None:
    found = read(results / "ablations_K5_Q10.json")
    pairs, steps = (
        {(row["model"], row[column]): row["NDCG@10"] for row in found[key]}
        for key, column in (("support_sizes", "support_size"), ("inner_steps", "inner_steps"))
    )
    assert (
        "25.1 % with 0 pairs, 30.2 with 3, 30.7 with 5; 25.1 with 0 steps, 30.7 with 5, 33.5 with "
        "10. Tuned: 44.4 with 0 pairs, 58.0 with 5, 60.5 with 10; told of five pairs, 58.1 with 0 "
        "steps, 58.0 with 5, 58.1 with 10 "
    ) in PAGE
    for own, model, shown in (
        (pairs, "few_shot", {0: "25.1", 3: "30.2", 5: "30.7"}),
        (steps, "few_shot", {0: "25.1", 5: "30.7", 10: "33.5"}),
        (pairs, "tuned_few_shot", {0: "44.4", 5: "58.0", 10: "60.5"}),
        (steps, "tuned_few_shot", {0: "58.1", 5: "58.0", 10: "58.1"}),
    ):
        for value, words in shown.items():
            assert is_like(words, 100 * own[model, value], 0.05), (model, value)


def test_what_wrong_support_pairs_give_is_that_of_the_controls(results: Path) -> None:
    found = read(results / "controls_K5_Q10.json")["differences"]
    page = (ROOT / "docs" / "figures_mean.md").read_text(encoding="utf-8")
    words = " ".join(page.split())
    assert "gains 4.0 points of NDCG@10 on shuffled labels and 4.8 on right ones" in words
    assert "tuned 14.1 and 14.2." in words
    for name, shown in {
        "shuffled_minus_zero_shot": "4.0",
        "few_shot_minus_zero_shot": "4.8",
        "tuned_shuffled_minus_tuned_zero_shot": "14.1",
        "tuned_few_shot_minus_tuned_zero_shot": "14.2",
    }.items():
        own = next(row for row in found[name] if row["metric"] == "NDCG@10")
        assert is_like(shown, 100 * own["difference"], 0)


def test_probabilities_are_those_of_the_analysis(results: Path) -> None:
    found = {row["model"]: row for row in read(results / "analysis_K5_Q10.json")["calibration"]}
    page = " ".join((ROOT / "docs" / "evidence.md").read_text(encoding="utf-8").split())
    for model, stated, right in (
        ("tuned_few_shot", "40.2", "36.4"),
        ("gru_fine_tuned", "67.2", "24.6"),
        ("tuned_zero_shot", "58.6", "29.4"),
    ):
        own = found[model]["first"]
        assert is_like(stated, 100 * own["stated"]), model
        assert is_like(right, 100 * own["right"], 0.05), model
        assert own["low"] > 0, "too sure, beyond chance"
        assert f"says {stated} % and is right in {right} %" in page
    for model in ("gru", "oracle"):
        assert found[model]["first"]["low"] < 0 < found[model]["first"]["high"]
    gru = found["gru"]
    assert "its calibration error is 5.5 % (2.5 to 8.6), where chance makes 2.6." in page
    assert gru["ece_low"] > 0, "in bins it is not calibrated"
    for shown, key in (("5.5", "ece"), ("2.5", "ece_low"), ("8.6", "ece_high")):
        assert is_like(shown, 100 * gru[key], 0), key
    for model, loss in (("gru_fine_tuned", "4.55"), ("gru", "4.33"), ("tuned_few_shot", "3.04")):
        assert is_like(loss, found[model]["log_loss"], 0)
        assert loss in page


def test_signs_are_those_of_the_curves(results: Path) -> None:
    loss = pd.read_csv(results / "plots" / "training.csv")
    validation = pd.read_csv(results / "plots" / "validation.csv").set_index("iteration")
    for update, words, hr1 in (
        (100, "5.19", "8.2"),
        (1000, "3.38", "18.1"),
        (2000, "2.68", "20.1"),
    ):
        own = loss[(loss.iteration > update - 50) & (loss.iteration <= update)].train_loss.mean()
        assert is_like(words, own)
        assert is_like(hr1, 100 * validation.loc[update, "few_shot HR@1"], 0.05)
        assert f"| {update:,} | {words} | {hr1} % |" in PAGE


def test_costs_are_those_measured() -> None:
    rows = read(ROOT / "benchmarks" / "measured" / "meta_step.json")["rows"]
    seconds = {row["way"]: row["seconds"] for row in rows}
    ratio = {
        "2.3 times on two": seconds["ours"] / seconds["ours_first_order"],
        "2.4 times": seconds["ours_in_1_process"] / seconds["ours_first_order_in_1_process"],
        "2.8 times": seconds["study_loop"] / seconds["study_loop_first_order"],
    }
    for words, value in ratio.items():
        assert words in PAGE
        assert words.startswith(f"{value:.1f}"), words
    variants = {
        (row["variant"], row.get("second_order", True)): row
        for row in read(ROOT / "experiments" / "measured" / "variants_kdd_cup.json")["rows"]
    }
    assert len(variants) > 5
    shown = [percent(row["few NDCG@10"]) for row in variants.values() if "few NDCG@10" in row]
    assert {"65.2", "65.3"} <= set(shown)
    assert "65.2 % against 65.3 %, at 0.42 of the cost" in PAGE


def test_data_and_models_are_those_of_their_files(results: Path) -> None:
    episodes = read(results / "episodes.json")
    assert f"{episodes['training_learners_with_episodes']:,} of the" in PAGE
    assert f"of the {episodes['learners']['train']:,} training learners" in PAGE
    trials = read(ROOT / "experiments" / "measured" / "tried_synthetic.json")["trials"]
    own = next(x for x in trials if x["settings"].get("meta.supervised") and x["updates"] == 200)
    few = {x["iteration"]: percent(x["few_shot"]["NDCG@10"]) for x in own["evaluations"]}
    assert (
        f"{few[0]} % NDCG@10 before, {few[50]} after 50 meta-updates, {few[200]} after 200" in PAGE
    )
    table = (ROOT / "experiments" / "measured" / "adaptation_models.md").read_text(encoding="utf-8")
    rows = {
        row.split("|")[1].strip(): [cell.strip(" %") for cell in row.split("|")[2:-1]]
        for row in table.splitlines()
        if row.startswith("| GRU")
    }
    for place, name in ((0, "MOOCCubeX"), (4, "the KDD Cup"), (6, "MARS")):
        large, plain = (rows[model][place] for model in ("GRU, tuned", "GRU"))
        assert re.search(rf"{large} (% )?against {plain} on {name}", PAGE), name
