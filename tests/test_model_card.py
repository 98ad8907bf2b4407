"""The model card says what the numbers say, and the opposite where they do."""

from pathlib import Path

import committed
import pytest
from test_report import AS_IS, differences, with_controls, with_maml, write_run

from mooc_maml.report.inputs import Inputs, read_inputs
from mooc_maml.report.model_card import model_card
from mooc_maml.settings.params import parse_params


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return read_inputs(write_run(tmp_path), parse_params(committed.settings()))


def part(card: str, title: str) -> str:
    """The text under a heading."""
    return card.split(f"## {title}\n\n")[1].split("\n\n## ")[0]


def against(inputs: Inputs, other: str, difference: float, low: float, high: float) -> str:
    rows = differences(difference, low, high)
    known = {name: [*own] for name, own in inputs.maml.differences.items()}
    content = {name: [row.model_dump(by_alias=True) for row in own] for name, own in known.items()}
    changed = with_maml(inputs, differences=content | {f"few_shot_minus_{other}": rows})
    return model_card(changed)


@pytest.mark.parametrize(
    ("difference", "low", "high", "says"),
    [
        (
            0.02,
            0.01,
            0.03,
            "Adaptation helps. It changes NDCG@10 by +2.0 points (95 % interval +1.0",
        ),
        (0.02, -0.01, 0.05, "Whether adaptation helps cannot be told from chance."),
        (-0.02, -0.03, -0.01, "Adaptation does harm: use the model without it."),
    ],
)
def test_adaptation_is_told_with_its_sign(
    inputs: Inputs, difference: float, low: float, high: float, says: str
) -> None:
    card = against(inputs, "zero_shot", difference, low, high)
    assert part(card, "What adaptation adds").startswith(says)


@pytest.mark.parametrize(
    ("difference", "low", "high", "says"),
    [
        (0.02, 0.01, 0.03, "Ahead of Popularity."),
        (0.0, -0.01, 0.01, "No difference from Popularity beyond chance"),
        (-0.02, -0.03, -0.01, "Behind Popularity: where only the list counts, use that."),
    ],
)
def test_the_strongest_baseline_is_named_and_judged(
    inputs: Inputs, difference: float, low: float, high: float, says: str
) -> None:
    card = against(inputs, "popularity", difference, low, high)
    assert part(card, "Against the strongest baseline").startswith(says)


def test_a_failed_control_is_told(inputs: Inputs) -> None:
    held = "Adapted on wrong pairs it gains nothing"
    assert held in part(model_card(inputs), "What adaptation adds")
    helps = {"few_shot": True, "shuffled": True, "exchanged": False}
    failed = part(model_card(with_controls(inputs, helps=helps)), "What adaptation adds")
    assert held not in failed
    assert "adapted on shuffled pairs, it is above zero-shot too" in failed


def test_synthetic_data_are_said_to_be_and_real_ones_not(tmp_path: Path) -> None:
    params = parse_params(committed.settings())
    for synthetic in (True, False):
        folder = tmp_path / str(synthetic)
        card = model_card(read_inputs(write_run(folder, synthetic), params))
        assert ("no figure here says anything of real learners" in card) is synthetic
        assert ("For real learners: train it" in part(card, "Where not to use it")) is synthetic
        assert ("Oracle" in part(card, "Metrics")) is synthetic


def test_metrics_stand_with_their_intervals(inputs: Inputs) -> None:
    table = part(model_card(inputs), "Metrics")
    assert "| MAML few-shot | 31.3 % (30.3–32.3 %) |" in table
    assert table.splitlines()[0] == "| | HR@1 | HR@5 | HR@10 | NDCG@10 | MRR |"


def test_seen_courses_are_told_as_the_run_ranked_them(inputs: Inputs) -> None:
    assert "ranked as any other" in part(model_card(inputs), "Limits")
    left_out = with_maml(inputs, seen_courses=AS_IS | {"prefix_left_out": True})
    assert "ranked as any other" not in part(model_card(left_out), "Limits")
