"""The second meta-model: its settings, and what the two sentences of its worth say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import committed
import pandas as pd
import pytest
import torch
from test_report import differences, write_run
from training_helpers import STORE, tiny_params

from mooc_maml.common.randomness import torch_generator
from mooc_maml.evaluation.schema import Difference
from mooc_maml.meta.gru.backbone import GRU
from mooc_maml.meta.run import read_start
from mooc_maml.models.gru import write_model
from mooc_maml.ranking.seen import NONE_LEFT_OUT
from mooc_maml.report.diagnostics import training_diagnostics
from mooc_maml.report.inputs import Inputs, read_inputs
from mooc_maml.report.worth import worth
from mooc_maml.settings.params import ParamsError, parse_params


def content(**tuned: Any) -> dict[str, Any]:
    return {**committed.settings(), "tuned": tuned}


def test_what_is_not_named_is_as_in_the_first() -> None:
    params = parse_params(
        content(inner_lr=0.3, meta={"variant": "anil"}, model={"backbone": "gru"})
    )
    own = params.of_tuned
    assert (own.inner_lr, own.meta.variant) == (0.3, "anil")
    assert (params.inner_lr, params.meta.variant) == (0.01, "maml")
    back = {"inner_lr": 0.01, "meta": params.meta.model_dump(), "tuned": params.tuned}
    assert own.model_dump() | back == params.model_dump()


def test_nothing_named_is_a_second_like_the_first() -> None:
    params = parse_params(content())
    assert params.of_tuned is params


@pytest.mark.parametrize(
    ("tuned", "said"),
    [
        ({"inner_lr": -1}, r"tuned\.inner_lr: found -1; expected a number above 0"),
        ({"inner_lrr": 1}, r"tuned\.inner_lrr: no such setting; allowed are use_second_order"),
        ({"seed": 1}, r"tuned\.seed: no such setting"),
        (
            {"meta": {"variants": "maml"}},
            r"tuned\.meta\.variants: no such setting \(found 'maml'\)",
        ),
        ({"meta": "anil"}, r"tuned\.meta: found 'anil'; expected keys and values"),
        ({"model": {"layers": 2}}, r"tuned\.model\.layers: allowed of model is backbone"),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(tuned: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=f"params.yaml: {said}"):
        parse_params(content(**tuned))


def test_the_committed_second_model_differs_from_the_document_s() -> None:
    params = parse_params(committed.settings())
    assert params.of_tuned.meta.variant != params.meta.variant == "maml"
    assert params.of_tuned.meta.warm_start
    assert not params.meta.warm_start


def inputs_with(folder: Path, found: dict[str, Any]) -> Inputs:
    inputs = read_inputs(write_run(folder), parse_params(committed.settings()))
    rows = {key: [Difference.model_validate(row) for row in own] for key, own in found.items()}
    return replace(inputs, maml=inputs.maml.model_copy(update={"differences": rows}))


GAIN, NOISE, LOSS = (0.03, 0.01, 0.05), (0.01, -0.01, 0.03), (-0.03, -0.05, -0.01)


@pytest.mark.parametrize(
    ("adaptation", "meta_learning", "said"),
    [
        (GAIN, GAIN, ("is worth +3.0 points", "is worth +3.0 points")),
        (
            GAIN,
            NOISE,
            ("is worth +3.0 points", "has no sure effect on these learners, +1.0 points"),
        ),
        (LOSS, GAIN, ("is worth less than nothing, −3.0 points", "is worth +3.0 points")),
        (NOISE, LOSS, ("has no sure effect on these", "is worth less than nothing, −3.0")),
    ],
)
def test_two_sentences_follow_from_the_figures(
    tmp_path: Path, adaptation: Any, meta_learning: Any, said: tuple[str, str]
) -> None:
    found = {
        "gru_fine_tuned_minus_gru": differences(*adaptation),
        "few_shot_minus_gru_fine_tuned": differences(*meta_learning),
    }
    first, second = worth(inputs_with(tmp_path, found)).split(". Meta-learning")
    assert said[0] in first
    assert said[1] in second
    assert "NDCG@10" in first


def test_a_second_model_is_judged_against_its_own_start(tmp_path: Path) -> None:
    found = {
        "gru_fine_tuned_minus_gru": differences(*GAIN),
        "few_shot_minus_gru_fine_tuned": differences(*GAIN),
        "tuned_few_shot_minus_gru_fine_tuned": differences(*GAIN),
        "tuned_few_shot_minus_tuned_start": differences(*NOISE),
    }
    said = worth(inputs_with(tmp_path, found))
    assert (
        "MAML tuned, few-shot, minus MAML tuned, before meta-training) has no sure effect" in said
    )


def test_what_steps_add_to_being_told_is_said_where_it_was_compared(tmp_path: Path) -> None:
    found = {
        "gru_fine_tuned_minus_gru": differences(*GAIN),
        "tuned_few_shot_minus_tuned_start": differences(*GAIN),
    }
    inputs = inputs_with(tmp_path, found)
    assert "gradient steps" not in worth(inputs)
    rows = [Difference.model_validate(row) for row in differences(*NOISE)]
    told = {"tuned_few_shot_minus_tuned_without_steps": rows}
    controls = inputs.controls.model_copy(update={"differences": told})
    assert worth(replace(inputs, controls=controls)).endswith(
        "What its gradient steps add to being told (minus MAML tuned, told, without steps) has no "
        "sure effect on these learners, +1.0 points NDCG@10 (−1.0 to +3.0; p = 0.004 after Holm)."
    )


def test_the_start_of_a_second_model_is_the_baseline_adapted_likewise(tmp_path: Path) -> None:
    changes = {"meta": {"warm_start": True, "pointer": 2.0}, "inner_lr_bias": 3.0}
    params = tiny_params(**changes)
    plain = GRU.build(STORE.num_courses, tiny_params(), torch_generator(1, "test"))
    write_model(tmp_path / "gru.pth", plain)  # type: ignore[arg-type]
    start = read_start(tmp_path / "gru.pth", params, STORE.num_courses, NONE_LEFT_OUT)
    assert start is not None
    assert start.weights["pointer.bias"].tolist() == [2, 2, -2]
    assert all(torch.equal(start.weights[n], x.double()) for n, x in plain.state_dict().items())
    none = read_start(tmp_path / "gru.pth", tiny_params(), STORE.num_courses, NONE_LEFT_OUT)
    assert none is None


def test_without_the_fine_tuned_gru_nothing_is_said(tmp_path: Path) -> None:
    assert worth(inputs_with(tmp_path, {})) == ""


def test_the_report_says_how_the_second_training_ended(tmp_path: Path) -> None:
    results = write_run(tmp_path)
    tuned = results / "plots" / "tuned"
    tuned.mkdir()
    pd.DataFrame({"iteration": [1, 2, 3, 4], "train_loss": [4.0, 3, 2, 1]}).to_csv(
        tuned / "training.csv", index=False
    )
    falling = pd.read_csv(results / "plots" / "validation.csv").iloc[::-1]
    falling.assign(iteration=range(5)).to_csv(tuned / "validation.csv", index=False)
    found = training_diagnostics(read_inputs(results, parse_params(committed.settings())))
    texts = {finding.name: finding.text for finding in found}
    assert "highest (46.3 %) at iteration 0" in texts["tuned_training"]
    assert texts["tuned_start_best"].startswith("MAML tuned: Meta-training has not improved on its")
    assert "start_best" not in texts
