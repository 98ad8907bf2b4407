"""The report: what it says is what the numbers say, and the same numbers give the same bytes."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import committed
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mooc_maml.common.errors import UserError
from mooc_maml.common.results import plain
from mooc_maml.evaluation.curves_schema import AblationsResult
from mooc_maml.evaluation.schema import METRICS, ControlsResult, TestResult
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.report.ablation_figure import draw_ablation
from mooc_maml.report.ablations import ablations
from mooc_maml.report.build import build_report
from mooc_maml.report.diagnostics import training_diagnostics
from mooc_maml.report.exports import figure_data, latex, tables
from mooc_maml.report.figures import CAPTIONS, draw_figures, draw_training
from mooc_maml.report.finding import Finding
from mooc_maml.report.findings import TARGET_PERCENT, results
from mooc_maml.report.inputs import Inputs, read_inputs
from mooc_maml.report.manifest import artefacts, git_tree
from mooc_maml.report.mixture import mixture_findings
from mooc_maml.report.words import count, flatten, percent, points, signed_percent
from mooc_maml.settings.params import Params, parse_params

ROOT = Path(__file__).resolve().parents[1]
TEST_SET = "0123456789abcdef"
AS_IS = {"prefix_left_out": False, "support_left_out": False}
HR1 = {"popularity": 0.04, "gru": 0.3373, "zero_shot": 0.301, "few_shot": 0.313, "oracle": 0.461}


def block(hr1: float) -> dict[str, float]:
    """Metrics of a model: HR@1, and the others a fixed step above it."""
    return {metric: hr1 + 0.05 * place for place, metric in enumerate(METRICS)}


def differences(difference: float, low: float, high: float) -> list[dict[str, Any]]:
    """The same paired difference for every metric."""
    return [
        {
            "metric": metric,
            "difference": difference,
            "low": low,
            "high": high,
            "cohens_d": 0.31,
            "p": 4e-4,
            "p_holm": 0.004,
        }
        for metric in METRICS
    ]


def common(synthetic: bool, learners: int) -> dict[str, Any]:
    """What every result file about the test learners begins with."""
    return {
        "data_source": "synthetic" if synthetic else "table",
        "synthetic": synthetic,
        "test_set": TEST_SET,
        "learners": learners,
        "queries": 10 * learners,
    }


def preprocess_json(synthetic: bool = True) -> dict[str, Any]:
    counts = (
        *("raw_events", "rows_after_duplicates", "consecutive_repeats", "sessions"),
        *("events_in_sessions", "learners", "learners_with_pairs", "items", "steps"),
        *("pairs_all", "pairs", "pairs_not_strictly_later"),
        *(f"prefix_length_{name}" for name in ("p50", "p90", "p99", "max")),
    )
    return {
        "source": "synthetic" if synthetic else "table",
        "synthetic": synthetic,
        "files": ["log.json"],
        "bad_records": {"by_reason": {}, "first": []},
        "dropped": dict.fromkeys(("bad_records", "event_kind", "duplicates", "short_sessions"), 7),
        "raw_sha256": {},
        "pairs_sha256": {},
        **dict.fromkeys(counts, 93),
    }


def maml_json(synthetic: bool = True) -> dict[str, Any]:
    models = {name: block(value) for name, value in HR1.items()}
    paired = differences(0.012, 0.006, 0.0185)
    best_last = ("popularity", "gru", "few_shot", "zero_shot", "oracle")
    content = {
        **common(synthetic, 412),
        "validation": [
            {"model": name, **block(0.1 * place)} for place, name in enumerate(best_last)
        ],
        "strongest_baseline": "popularity",
        "zero_shot": models["zero_shot"],
        "few_shot": models["few_shot"],
        "baselines": {name: models[name] for name in ("popularity", "gru")},
        "improvement_over_gru_percent": {
            metric: 100 * (models["few_shot"][metric] / models["gru"][metric] - 1)
            for metric in METRICS
        },
        "intervals_95": {
            name: {metric: [value - 0.01, value + 0.01] for metric, value in models[name].items()}
            for name in models
            if name != "oracle"
        },
        "differences": {
            f"few_shot_minus_{other}": paired for other in ("zero_shot", "gru", "popularity")
        },
        "seen_courses": AS_IS,
    }
    return content | ({"oracle": models["oracle"]} if synthetic else {})


def controls_json(synthetic: bool = True) -> dict[str, Any]:
    own, nothing = differences(0.012, 0.006, 0.0185), differences(0.001, -0.002, 0.003)
    content = {
        **common(synthetic, 412),
        "repeats": 5,
        "judged_by": "NDCG@10",
        "models": {},
        "differences": {
            "few_shot_minus_zero_shot": own,
            "shuffled_minus_zero_shot": nothing,
            "exchanged_minus_zero_shot": nothing,
            "few_shot_minus_shuffled": own,
            "few_shot_minus_exchanged": own,
        },
        "helps": {"few_shot": True, "shuffled": False, "exchanged": False},
    }
    share = {"metric": "NDCG@10", "share": 0.12, "low": 0.03, "high": 0.2}
    shares = {"share_of_the_way_to_the_oracle": {"few_shot": [share]}}
    return content | (shares if synthetic else {})


PAIRS = {"few_shot": (0.301, 0.001), "tuned_few_shot": (0.2, 0.02)}  # HR@1 at 0; a pair adds
STEPS = {"few_shot": (0.301, 0.002), "tuned_few_shot": (0.4, -0.0002)}


def ablations_json(
    synthetic: bool = True, pairs: Any = PAIRS, steps: Any = STEPS, half: float = 0.005
) -> dict[str, Any]:
    """Both meta-models on a straight line; intervals reach `half` to either side."""

    def rows(column: str, values: tuple[int, ...], lines: Any) -> list[dict[str, Any]]:
        return [
            {"model": model, column: x, **block(start + slope * x)}
            | ({"change": change(slope * x)} if x else {})
            for model, (start, slope) in lines.items()
            for x in values
        ]

    def change(x: float) -> dict[str, float]:
        return {"difference": x, "low": x - half, "high": x + half}

    return common(synthetic, 300) | {
        "judged_by": "NDCG@10",
        "support_sizes": rows("support_size", (10, 0, 1, 5), pairs),
        "inner_steps": rows("inner_steps", (0, 1, 5), steps),
    }


def cold_start_json(synthetic: bool = True) -> dict[str, Any]:
    gain = {"few_shot": 0.02, "gru": 0.0, "popularity": 0.0}
    curves = [
        {
            "model": name,
            "support_size": pairs,
            "metric": metric,
            "mean": x,
            "low": x - 0.01,
            "high": x + 0.01,
        }
        for name, slope in gain.items()
        for pairs in (0, 1, 5)
        for metric in ("HR@10", "NDCG@10")
        for x in [HR1[name] + slope * pairs]
    ]
    return common(synthetic, 300) | {"curves": curves}


def analysis_json(synthetic: bool = True) -> dict[str, Any]:
    """Adaptation helps where the prefix is short and hurts where it is long."""
    pair = {"first": "few_shot", "second": "zero_shot", "queries": 300, "learners": 90}
    step = {"before": ["course-1", "course-2"], "next": "course-3"}
    where = [
        {
            "split": "courses before, in the session",
            "group": group,
            **pair,
            "metric": metric,
            "first_mean": 0.3 + change,
            "second_mean": 0.3,
            "difference": change,
            "low": change - 0.02,
            "high": change + 0.02,
        }
        for group, change in (("1", 0.05), ("2 or 3", 0.01), ("8 or more", -0.04))
        for metric in ("HR@1", "NDCG@10")
    ]
    beyond = [
        {
            "model": name,
            "coverage": 0.42,
            "novelty": 3.21,
            "diversity_between": None if name == "gru" else 0.66,
            "diversity_within": 0.71,
            "popularity_ratio": 1.37,
            "popularity_deviation": 0.12,
        }
        for name in HR1
    ]
    example = {
        "learner": 7,
        "model": "few_shot",
        "query": 2,
        "support": [step] * 5,
        "prefix": ["course-1"],
        "true_course": "course-v1:TsinghuaX+10610204_tv+2015_T1",
        "before": ["course-4", "course-5"],
        "after": ["course-4", "course-v1:TsinghuaX+10610204_tv+2015_T1"],
        "rank_before": 31,
        "rank_after": 2,
    }
    changes = {"largest gain": 0.31, "median": 0.02, "largest loss": -0.2}
    examples = [{**example, "why": why, "change": x} for why, x in changes.items()]
    return common(synthetic, 412) | {
        "where": where,
        "beyond_accuracy": beyond,
        "examples": examples,
        "calibration": [
            calibration_of("few_shot", 0.413),
            calibration_of("gru", 0.38),
            calibration_of("zero_shot", 0.3),
        ],
    }


def calibration_of(model: str, stated: float, half: float | None = 0.02) -> dict[str, Any]:
    """Of a model that is right as often as its HR@1 says; `half`: half of each interval."""
    right = HR1[model]

    def gap(change: float) -> dict[str, Any]:
        ends = (None, None) if half is None else (change - half, change + half)
        own = {"stated": right + change, "right": right, "difference": change}
        return own | {"low": ends[0], "high": ends[1]}

    bins = [
        {"queries": 412, "stated": p, "right": 0.8 * p, "low": 0.7 * p, "high": 0.9 * p}
        for p in (0.1, 0.2, 0.3, 0.5)
    ]
    bins[0] |= {"low": None, "high": None}
    error = {"ece": 0.1, "ece_low": 0.08, "ece_high": 0.12, "ece_by_chance": 0.02}
    loss = {"log_loss": 3.21, "log_loss_low": 3.1, "log_loss_high": 3.3, "impossible": 0}
    gaps = {"first": gap(stated - right), "first_ten": gap(0.03)}
    return {"model": model, **gaps, **error, **loss, "bins": bins}


def write_run(root: Path, synthetic: bool = True) -> Path:
    """Write the inputs of a report below `root`; return the folder of results."""
    results_path = root / "results"
    plots = results_path / "plots"
    plots.mkdir(parents=True)
    (root / "models").mkdir()
    (root / "models" / "maml_gru_K5.pth").write_bytes(b"weights")
    epochs = [(1, 0.2), (2, 0.33), (3, 0.31)]
    files = {
        "maml_K5_Q10": maml_json(synthetic),
        "baselines_K5_Q10": common(synthetic, 412)
        | {
            "seen_courses": AS_IS,
            "baselines": {"gru": block(0.3373)},
            "training": {
                "gru": [
                    {"epoch": epoch, "train_loss": 3.0, "validation": block(value)}
                    for epoch, value in epochs
                ]
            },
        },
        "ablations_K5_Q10": ablations_json(synthetic),
        "cold_start_K5_Q10": cold_start_json(synthetic),
        "controls_K5_Q10": controls_json(synthetic),
        "analysis_K5_Q10": analysis_json(synthetic),
        "preprocess": preprocess_json(synthetic),
    }
    for name, content in files.items():
        (results_path / f"{name}.json").write_text(json.dumps(content))
    (results_path / "test_reads.csv").write_text(
        "test_set,result_file,content\n"
        f"{TEST_SET},maml_K5_Q10.json,01\n{TEST_SET},maml_K5_Q10.json,02\n"
        f"fedcba9876543210,maml_K5_Q10.json,03\n{TEST_SET},controls_K5_Q10.json,04\n"
    )
    iterations = np.arange(1, 2501)
    loss = 3 + np.exp(-iterations / 500)
    pd.DataFrame({"iteration": iterations, "train_loss": loss}).to_csv(
        plots / "training.csv", index=False
    )
    pd.DataFrame(
        {
            "iteration": i,
            **{f"zero_shot {name}": x for name, x in block(0.301 * i / 2500).items()},
            **{f"few_shot {name}": x for name, x in block(0.313 * i / 2500).items()},
        }
        for i in range(500, 2501, 500)
    ).to_csv(plots / "validation.csv", index=False)
    pd.DataFrame(
        {"model": "popularity", "metric": m, "value": v, "low": v - 0.005, "high": v + 0.005}
        for m, v in block(0.04).items()
    ).to_csv(plots / "comparison.csv", index=False)
    pd.DataFrame(
        {"learner": learner, "layer": layer, "relative_change": change * (1 + learner)}
        for learner in range(3)
        for layer, change in (("embedding", 0.001), ("head", 0.01), ("frozen", 0.0))
    ).to_csv(plots / "param_change.csv", index=False)
    return results_path


@pytest.fixture
def params() -> Params:
    return parse_params(committed.settings())


@pytest.fixture
def inputs(tmp_path: Path, params: Params) -> Inputs:
    return read_inputs(write_run(tmp_path), params)


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn but not painted, which takes seconds: for tests of all the rest."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **kw: path.write_bytes(b"picture"))


def build(root: Path, params: Params) -> str:
    return build_report(params, root / "results", root / "models", root / "results" / "report")


def with_maml(inputs: Inputs, **changes: Any) -> Inputs:
    """The same inputs with some values of the test's result file changed."""
    content = json.dumps(plain(inputs.maml) | changes)
    return replace(inputs, maml=TestResult.model_validate_json(content))


def with_controls(inputs: Inputs, **changes: Any) -> Inputs:
    """The same of the controls'."""
    content = json.dumps(plain(inputs.controls) | changes)
    return replace(inputs, controls=ControlsResult.model_validate_json(content))


def text_of(found: list[Finding], name: str) -> str:
    return next(finding.text for finding in found if finding.name == name)


def warnings_of(found: list[Finding]) -> set[str]:
    return {finding.name for finding in found if finding.kind == "warning"}


def test_numbers_as_people_read_them() -> None:
    assert percent(0.3134) == "31.3 %"
    assert percent(float("nan")) == "n.a."
    assert points(0.012) == "+1.2 points"
    assert points(-0.0243) == "−2.4 points"
    assert points(-0.0001) == "0.0 points"  # what rounds to nothing has no sign
    assert signed_percent(-7.204) == "−7.2 %"
    assert (count(1, "pair", "pairs"), count(4120, "pair", "pairs")) == ("1 pair", "4,120 pairs")
    assert flatten({"a": {"b": [1, 2], "c": None}, "d": True}) == [
        ("a.b", "1, 2"),
        ("a.c", "none"),
        ("d", "true"),
    ]


def test_findings_are_worked_out_from_the_numbers(inputs: Inputs) -> None:
    found = results(inputs)
    adaptation = text_of(found, "adaptation")
    assert "Adaptation on 5 pairs changes HR@1 by +1.2 points" in adaptation  # 0.313 - 0.301
    assert "from 30.1 % (zero-shot) to 31.3 % (few-shot)" in adaptation
    assert "+0.6 to +1.8 points (p = 0.004 after Holm's correction): more than chance" in adaptation
    # 0.313 / 0.3373 - 1 = -0.0720
    assert "−2.4 points, that is −7.2 % relative" in text_of(found, "against_gru")
    assert "ahead of the GRU on 0 of 5 metrics" in text_of(found, "against_gru")
    # (0.313 - 0.301) / (0.461 - 0.301) = 0.075
    assert "closes 8 % of the distance" in text_of(found, "oracle")
    # 10 pairs: 10 x 0.001 and 10 x 0.02 more; NDCG@10 stands 0.15 above HR@1
    assert text_of(found, "ablation_support_size") == (
        "MAML few-shot: being given 10 support pairs rather than none is worth +1.0 points (+0.5 "
        "to +1.5); NDCG@10 goes from 45.1 % to 46.1 %. MAML tuned, few-shot: being given 10 "
        "support pairs rather than none is worth +20.0 points (+19.5 to +20.5); NDCG@10 goes from "
        "35.0 % to 55.0 %."
    )
    assert text_of(found, "ablation_inner_steps") == (
        "MAML few-shot: taking 5 gradient steps rather than none, told of the same 5 pairs either "
        "way, is worth +1.0 points (+0.5 to +1.5); NDCG@10 goes from 45.1 % to 46.1 %. MAML tuned, "
        "few-shot: taking 5 gradient steps rather than none, told of the same 5 pairs either way, "
        "has no sure effect on these learners, −0.1 points (−0.6 to +0.4); NDCG@10 goes from "
        "55.0 % to 54.9 %."
    )
    # medians over learners 0, 1, 2: head 0.02, frozen 0
    assert "head moves most in adaptation: by 2 %" in text_of(found, "param_change")


@pytest.mark.parametrize(
    ("slope", "said"),
    [
        (0.004, "is worth +2.0 points (+1.5 to +2.5)"),
        (0.0006, "has no sure effect on these learners, +0.3 points (−0.2 to +0.8)"),
        (-0.004, "is worth less than nothing, −2.0 points (−2.5 to −1.5)"),
    ],
)
def test_each_meta_model_s_sentence_follows_its_own_curve(
    inputs: Inputs, slope: float, said: str
) -> None:
    """The other one's curve says the opposite, or that there is nothing."""
    for at, (model, label) in enumerate(
        {"few_shot": "MAML few-shot", "tuned_few_shot": "MAML tuned, few-shot"}.items()
    ):
        lines = dict.fromkeys(PAIRS, (0.4, -2 * slope)) | {model: (0.4, slope)}
        content = json.dumps(ablations_json(pairs=dict.fromkeys(PAIRS, (0.4, 0)), steps=lines))
        own = replace(inputs, ablations=AblationsResult.model_validate_json(content))
        sentences = text_of(results(own), "ablation_inner_steps").split(". ")
        assert len(sentences) == 2
        assert sentences[at].startswith(f"{label}: taking 5 gradient steps rather than none")
        assert said in sentences[at]
        assert said not in sentences[1 - at]
        assert text_of(results(own), "ablation_support_size").count("has no sure effect") == 2


def test_both_meta_models_are_lines_of_the_ablation_figures(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = dict[str, Figure]()
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **kw: drawn.update({path.name: self}))
    monkeypatch.setattr("mooc_maml.report.style.atomic_path", nullcontext)
    second = inputs.training, inputs.validation
    for own in (inputs, replace(inputs, tuned=second)):
        figure = ablations(own)["ablation_inner_steps"]
        draw_ablation(figure, "synthetic data", tmp_path / "steps.png")
        lines = drawn["steps.png"].axes[3].lines  # NDCG@10
        found = [(*line.get_xdata(), *line.get_ydata()) for line in lines]
        tuned = [5, pytest.approx(0.549)]  # ringed: its setting of this run, once it is known
        assert found == [
            (0, 1, 5, *(pytest.approx(0.451 + 0.002 * x) for x in (0, 1, 5))),
            (5, pytest.approx(0.461)),
            (0, 1, 5, *(pytest.approx(0.55 - 0.0002 * x) for x in (0, 1, 5))),
            tuple(tuned if own.tuned else []),
        ]
        (legend,) = (x.get_legend() for x in drawn["steps.png"].axes if x.get_legend())
        assert [text.get_text() for text in legend.get_texts()] == [
            "MAML few-shot",
            "MAML tuned, few-shot",
            "setting of this run",
        ]
        assert len({line.get_color() for line in (lines[0], lines[2])}) == 2


def test_the_tables_of_the_ablations_have_both_models_and_the_change(inputs: Inputs) -> None:
    table = tables(inputs)["inner_steps"]
    assert table["model"].tolist() == ["MAML few-shot"] * 3 + ["MAML tuned, few-shot"] * 3
    assert table["inner_steps"].tolist() == [0, 1, 5] * 2
    assert table["change"].tolist()[1:3] == [0.002, 0.01]
    assert table["change"].isna().tolist() == [True, False, False] * 2
    assert latex(table).splitlines()[4].startswith("MAML few-shot & 0 & 30.1 & ")
    assert latex(table).splitlines()[4].endswith(" & -- & -- & -- \\\\")
    assert figure_data(inputs, tables(inputs))["ablation_inner_steps"].equals(table)


def test_the_mixture_is_told_against_its_zero_shot_the_gru_and_the_strongest(
    inputs: Inputs,
) -> None:
    assert not mixture_findings(inputs)  # not trained
    share = {"metric": "NDCG@10", "share": 0.53, "low": 0.4, "high": 0.6}
    own = {"mixture": block(0.36), "mixture_zero_shot": block(0.29)}
    against = ("mixture_zero_shot", "gru", "popularity")
    changed = with_maml(
        inputs,
        baselines=plain(inputs.maml)["baselines"] | own,
        differences={f"mixture_minus_{x}": differences(0.04, 0.02, 0.06) for x in against},
        share_of_the_way_to_the_oracle={"mixture": [share]},
    )
    (found,) = mixture_findings(changed)
    gru = inputs.maml.baselines["gru"]["HR@1"]
    assert (
        "from 29.0 % HR@1 (zero-shot) to 36.0 % (few-shot): +4.0 points (+2.0 to +6.0" in found.text
    )
    assert f"Relative to the GRU that is +{100 * (0.36 / gru - 1):.1f} %" in found.text
    assert "Against the strongest baseline, Popularity, it is at +4.0 points" in found.text
    assert "closes 53 % (40 % to 60 %)" in found.text


def test_what_the_mixture_is_told_and_what_its_steps_add_stand_apart(inputs: Inputs) -> None:
    rows = {
        "mixture_without_steps_minus_mixture_zero_shot": differences(0.1, 0.08, 0.12),
        "mixture_minus_mixture_without_steps": differences(0.002, -0.001, 0.004),
    }
    own = {"mixture": block(0.36), "mixture_zero_shot": block(0.29)}
    inputs = with_maml(inputs, baselines=plain(inputs.maml)["baselines"] | own)
    (found,) = mixture_findings(with_controls(inputs, differences=rows))
    assert "told of the support pairs gives +10.0 points (+8.0 to +12.0" in found.text
    assert "gradient steps add +0.2 points (−0.1 to +0.4" in found.text


@pytest.mark.parametrize(
    ("percent_over_gru", "words"),
    [(-7.2, "not reached"), (TARGET_PERCENT - 0.01, "not reached"), (TARGET_PERCENT, "is reached")],
)
def test_the_target_is_said_to_be_reached_only_when_it_is(
    inputs: Inputs, percent_over_gru: float, words: str
) -> None:
    assert pytest.approx(12.66, abs=0.01) == TARGET_PERCENT  # 38 / 33.73 - 1
    changed = with_maml(inputs, improvement_over_gru_percent={"HR@1": percent_over_gru})
    assert f"target is {words}".replace("is is", "is") in text_of(results(changed), "target")


def test_an_interval_around_zero_is_no_proof(inputs: Inputs) -> None:
    around = differences(0.01, -0.002, 0.02)
    found = results(with_maml(inputs, differences={"few_shot_minus_zero_shot": around}))
    text = text_of(found, "adaptation")
    assert "−0.2 to +2.0 points (p = 0.004 after Holm's correction): chance is not ruled" in text
    # Without a paired test the two intervals are compared: 30.3-32.3 and 32.7-34.7 do not overlap.
    assert "(30.3–32.3 % and 32.7–34.7 %) do not overlap" in text_of(found, "against_gru")


def test_few_learners_are_said_to_give_a_wide_interval(inputs: Inputs) -> None:
    assert "wide_interval" not in warnings_of(results(inputs))  # 2 points
    wide = {"few_shot": {"HR@1": [0.28, 0.34]}}
    found = results(with_maml(inputs, intervals_95=wide))
    assert "412 learners" in text_of(found, "wide_interval")
    assert "wide (28.0–34.0 %)" in text_of(found, "wide_interval")


def test_a_good_training_raises_no_warning(inputs: Inputs) -> None:
    found = training_diagnostics(inputs)
    assert warnings_of(found) == set()
    assert "stopped early, at iteration 2,500 of at most 10,000" in text_of(found, "training")
    assert "highest (46.3 %) at iteration 2,500" in text_of(found, "training")  # .313 + 3 * .05


def _rising(training: pd.DataFrame) -> pd.DataFrame:
    return training.assign(train_loss=training["iteration"] / 1000)


def _broken(training: pd.DataFrame) -> pd.DataFrame:
    return training.assign(train_loss=training["train_loss"].where(training.index != 7))


@pytest.mark.parametrize(("change", "name"), [(_rising, "loss"), (_broken, "loss_not_finite")])
def test_bad_losses_are_warned_of(
    inputs: Inputs, change: Callable[[pd.DataFrame], pd.DataFrame], name: str
) -> None:
    found = training_diagnostics(replace(inputs, training=change(inputs.training)))
    assert warnings_of(found) == {name}


@pytest.mark.parametrize(("level", "flat"), [(0.25, True), (0.35, False)])
def test_a_flat_validation_below_30_percent_is_warned_of(
    inputs: Inputs, level: float, flat: bool
) -> None:
    found = training_diagnostics(
        replace(inputs, validation=inputs.validation.assign(**{"HR@1": level}))
    )
    assert ("validation_flat" in warnings_of(found)) is flat


def test_the_gru_level_is_that_of_its_best_epoch(inputs: Inputs) -> None:
    found = inputs.gru_validation()
    assert found is not None
    assert found["HR@1"] == 0.33


def test_models_are_ordered_by_validation_and_not_by_the_test(inputs: Inputs) -> None:
    names = [row.name for row in inputs.rows()]
    # few-shot is above zero-shot in the test, and below it here on validation
    assert names == ["oracle", "zero_shot", "few_shot", "gru", "popularity"]
    validation = [row for row in plain(inputs.maml)["validation"] if row["model"] != "oracle"]
    without = with_maml(inputs, validation=validation)
    assert [row.name for row in without.rows()] == [*names[1:], "oracle"], "unknown ones last"


def test_the_strongest_baseline_is_compared_with(inputs: Inputs) -> None:
    text = text_of(results(inputs), "against_strongest")
    assert "strongest baseline by validation NDCG@10 is Popularity (4.0 % HR@1" in text
    assert "few-shot is at +27.3 points of it" in text  # 31.3 - 4.0
    assert "p = 0.004 after Holm's correction): more than chance" in text
    is_gru = with_maml(inputs, strongest_baseline="gru")
    assert text_of(results(is_gru), "against_strongest").endswith("is GRU.")


def test_what_holm_does_not_leave_is_not_sure(inputs: Inputs) -> None:
    rows = [row | {"p_holm": 0.07} for row in differences(0.012, 0.006, 0.0185)]
    changed = with_maml(inputs, differences={"few_shot_minus_zero_shot": rows})
    assert "chance is not ruled out" in text_of(results(changed), "adaptation")


def test_reads_are_those_of_this_test_set(inputs: Inputs) -> None:
    text = text_of(results(inputs), "test_reads")
    assert "read 3 times so far (maml_K5_Q10.json 2, controls_K5_Q10.json 1)" in text


def test_controls_that_hold_are_findings(inputs: Inputs) -> None:
    found = results(inputs)
    assert not {name for name in warnings_of(found) if name.startswith("control")}
    exchanged = text_of(found, "control_exchanged")
    assert "MAML few-shot is at +0.1 points (−0.2 to +0.3) NDCG@10 of its zero" in exchanged
    assert "on the learner's own pairs, at +1.2 points (+0.6 to +1.8)" in exchanged
    assert "the control holds" in exchanged
    assert "closes 12 % of the way" in text_of(found, "control_oracle")


def test_the_mixture_has_controls_of_its_own(inputs: Inputs) -> None:
    rows = {
        "mixture_minus_mixture_zero_shot": differences(0.02, 0.01, 0.03),
        "mixture_exchanged_minus_mixture_zero_shot": differences(-0.004, -0.006, -0.001),
    }
    rows |= plain(inputs.controls)["differences"]
    helps = inputs.controls.helps | {"mixture": True, "mixture_exchanged": False}
    changed = with_controls(inputs, differences=rows, helps=helps)
    text = text_of(results(changed), "control_mixture_exchanged")
    assert "Mixture few-shot is at −0.4 points (−0.6 to −0.1) NDCG@10 of its zero-shot" in text
    assert "own pairs, at +2.0 points" in text


@pytest.mark.parametrize("name", ["shuffled", "exchanged"])
def test_a_negative_control_that_helps_is_warned_of(inputs: Inputs, name: str) -> None:
    found = results(with_controls(inputs, helps=inputs.controls.helps | {name: True}))
    assert warnings_of(found) == {f"control_{name}"}


@pytest.mark.parametrize(("share", "low"), [(0.09, 0.05), (0.2, -0.01), (None, None)])
def test_a_positive_control_that_fails_is_warned_of(
    inputs: Inputs, share: float | None, low: float | None
) -> None:
    row = {"metric": "NDCG@10", "share": share, "low": low, "high": share}
    changed = with_controls(inputs, share_of_the_way_to_the_oracle={"few_shot": [row]})
    assert "control_oracle" in warnings_of(results(changed))


def test_a_model_without_an_interval_has_none(inputs: Inputs) -> None:
    rows = {row.name: row.measures["HR@1"] for row in inputs.rows()}
    assert rows["popularity"].low == pytest.approx(0.03)
    assert not rows["oracle"].has_interval


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, params: Params) -> None:
    write_run(tmp_path)
    taken = []
    for _ in range(2):  # the second time over its own outputs
        build(tmp_path, params)
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        taken.append({path: path.read_bytes() for path in files})
    report = [path for path in taken[0] if path.parent == tmp_path / "results" / "report"]
    pictures = [path for path in taken[0] if path.suffix in (".png", ".svg", ".pdf")]
    assert len(report) == 8, "page, config, report, manifest, two tables, answer, model card"
    assert len(pictures) == 3 * len(CAPTIONS), "PNG, SVG and PDF"
    assert taken[0] == taken[1]


@pytest.mark.usefixtures("unpainted")
def test_the_manifest_lists_every_artefact_but_itself(tmp_path: Path, params: Params) -> None:
    results_path = write_run(tmp_path)
    (results_path / ".gitignore").write_text("plots")
    (results_path / "maml_K10_Q20.json").write_text("{}")  # left by a run with other sizes
    (tmp_path / "models" / "maml_gru_K10.pth").write_bytes(b"other")
    build(tmp_path, params)
    listed = json.loads((results_path / "report" / "manifest.json").read_text())["artefacts"]
    entries = {entry["path"]: entry for entry in listed}
    assert len(entries) == len(listed)
    assert set(entries) == {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file()
        and path.name not in ("manifest.json", ".gitignore")
        and "K10" not in path.name
    }
    weights = entries["models/maml_gru_K5.pth"]
    assert weights["bytes"] == 7
    assert weights["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert {f"results/report/figures/{name}" for name in CAPTIONS} < set(entries)


def test_a_manifest_of_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="models: no such folder"):
        artefacts([tmp_path / "models"], tmp_path, 5, 10)


@pytest.mark.usefixtures("unpainted")
def test_the_page_escapes_what_comes_from_data(tmp_path: Path, params: Params) -> None:
    results_path = write_run(tmp_path, synthetic=False)
    path = results_path / "maml_K5_Q10.json"
    content = json.loads(path.read_text()) | {"data_source": "<script>alert('x')</script> & co"}
    path.write_text(json.dumps(content))
    names = preprocess_json() | {"files": ["<img src=x>"]}
    (results_path / "preprocess.json").write_text(json.dumps(names))
    build(tmp_path, params)
    html = (results_path / "report" / "index.html").read_text()
    assert "<script" not in html.replace("&lt;script", "")
    assert "<img src=x>" not in html
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; co" in html


class Shape(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, tuple[str, ...]]] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "a\nb",
    "../../up",
    "{{ 7 }}",
]


@pytest.mark.usefixtures("unpainted")
def test_hostile_ids_go_from_raw_data_to_the_page_as_text(tmp_path: Path, make_params) -> None:
    settings = make_params(data={"source": "xuetangx", "max_bad_records": 0.5})
    shapes = {}
    for kind, names in (("hostile", HOSTILE), ("plain", ["a", "b", "c", "d", "e"])):
        results_path, raw = write_run(tmp_path / kind, synthetic=False), tmp_path / kind / "raw"
        raw.mkdir()
        times = [f"2018-09-28 12:00:{n:02}" for n in range(len(names))]
        good = [
            [course, {learner: {learner: [["load_video", time]]} for learner in names}]
            for course, time in zip(names, times, strict=True)
        ]
        bad = [[name, {name: {name: [["load_video", name]]}}] for name in names]
        (raw / names[0].replace("/", "")).write_text(json.dumps(good + bad))
        account = preprocess(raw, tmp_path / kind / "pairs", settings)
        assert account["learners"] == account["items"] == len(names)
        (results_path / "preprocess.json").write_text(json.dumps(account))
        build_report(settings, results_path, tmp_path / kind / "models", results_path / "report")
        shapes[kind] = Shape((results_path / "report" / "index.html").read_text())
    assert shapes["hostile"].tags == shapes["plain"].tags
    for name in HOSTILE:
        assert repr(name) in shapes["hostile"].text, "shown where the bad records are listed"
    found = sorted(path.name for path in (tmp_path / "hostile" / "pairs").iterdir())
    assert found == ["courses.parquet", "learners.parquet", "sessions.parquet", "steps.parquet"]
    assert not (tmp_path.parent / "up").exists()


@pytest.mark.usefixtures("unpainted")
def test_the_page_shows_what_a_result_can_be_traced_by(tmp_path: Path, params: Params) -> None:
    results_path = write_run(tmp_path)
    account = {
        "raw_sha256": {"log.json": "12ab" * 16},
        "pairs_sha256": {"steps.parquet": "cd" * 32},
    }
    (results_path / "preprocess.json").write_text(json.dumps(preprocess_json() | account))
    build(tmp_path, params)
    html = (results_path / "report" / "index.html").read_text()
    rows = dict(re.findall(r"<tr><td>([^<]+)</td><td><code>([^<]+)</code></td></tr>", html))
    assert rows["seed"] == str(params.seed)
    assert rows["threads"] == str(params.hardware.threads)
    assert rows["code: git tree of src/"] == git_tree(ROOT / "src")
    assert rows["raw file log.json"] == "sha256 " + "12ab" * 16
    assert rows["pairs file steps.parquet"] == "sha256 " + "cd" * 32
    assert rows["version of torch"] == version("torch")


@pytest.mark.usefixtures("unpainted")
def test_the_page_stands_alone_and_shows_the_figures(tmp_path: Path, params: Params) -> None:
    folder = write_run(tmp_path) / "report"
    build(tmp_path, params)
    html = (folder / "index.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"#]+)"', html)
    own = {
        f"figures/{Path(name).stem}.{kind}" for name in CAPTIONS for kind in ("svg", "pdf", "csv")
    }
    assert own < set(sources)
    assert all((folder / source).is_file() for source in sources)
    anchors = re.findall(r'href="#([^"]+)"', html)
    assert len(anchors) == 14
    assert all(f'id="{name}"' in html for name in anchors)
    assert "http" not in html
    assert "31.3 %<small>30.3–32.3 %</small>" in html
    assert "few-shot − Popularity" in html
    assert (
        "+1.2<small>+0.6 to +1.8</small><small>p = 0.004</small>\n<small>d = 0.31</small>" in html
    )
    assert "MAML few-shot, another&#39;s pairs − MAML zero-shot" in html
    assert "41.3 %<small>40.3–42.3 %</small>" in html  # few-shot after 5 pairs: 31.3 + 5 * 2
    of_ablations = html.partition('<section id="ablations">')[2].partition("</section>")[0]
    groups = re.findall(r'scope="rowgroup" colspan="7">([^<]+)</th>', of_ablations)
    assert groups == ["MAML few-shot", "MAML tuned, few-shot"] * 2
    rows = re.findall(r'scope="row">(\d+)</th>', of_ablations)
    assert rows == ["0", "1", "5", "10"] * 2 + ["0", "1", "5"] * 2
    assert "<td>+20.0<small>+19.5 to +20.5</small></td>" in of_ablations  # tuned: 10 x 0.02
    words = " ".join(of_ablations.split())
    assert "0 inner steps: told of the same 5 support pairs as in the other rows, without" in words


@pytest.mark.usefixtures("unpainted")
def test_made_up_data_are_labelled_on_page_and_figures(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    plain = Figure.suptitle
    monkeypatch.setattr(
        Figure, "suptitle", lambda self, t, **kw: (titles.append(t), plain(self, t, **kw))[1]
    )
    for name, synthetic in (("made_up", True), ("real", False)):
        titles.clear()
        results_path = write_run(tmp_path / name, synthetic)
        build(tmp_path / name, params)
        assert len(titles) == len(CAPTIONS)
        assert all(("synthetic data" in title) is synthetic for title in titles)
        html = (results_path / "report" / "index.html").read_text()
        assert ("synthetic data" in html) is synthetic


def test_figures_are_pictures_of_fixed_size_without_a_program_name(
    inputs: Inputs, tmp_path: Path
) -> None:
    for path in draw_figures(inputs, tmp_path / "figures"):
        assert b"Software" not in path.read_bytes()
        assert imread(path).shape[1] == 1350


def test_nothing_to_show_is_shown_as_nothing(tmp_path: Path, params: Params) -> None:
    results_path = write_run(tmp_path, synthetic=False)
    path = results_path / "maml_K5_Q10.json"
    content = json.loads(path.read_text())
    nothing = ("differences", "intervals_95", "improvement_over_gru_percent", "baselines")
    path.write_text(json.dumps(content | {key: {} for key in nothing}))
    empty = {
        "ablations": {"support_sizes": [], "inner_steps": []},
        "cold_start": {"curves": []},
        "controls": {"differences": {}, "helps": {}, "share_of_the_way_to_the_oracle": {}},
        "analysis": {"where": [], "beyond_accuracy": [], "examples": [], "calibration": []},
    }
    for name, changes in empty.items():
        path = results_path / f"{name}_K5_Q10.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    (results_path / "test_reads.csv").unlink()
    for table in ("training", "validation", "comparison", "param_change"):
        path = results_path / "plots" / f"{table}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    table = build(tmp_path, params)
    assert "GRU" not in table
    html = (results_path / "report" / "index.html").read_text()
    assert "n.a." in html
    assert not re.search(r"\bnan\b", html)
    found = json.loads((results_path / "report" / "report.json").read_text())["findings"]
    assert "no interval to tell how sure" in found[0]["text"]


def test_a_very_short_training_is_drawn(inputs: Inputs, tmp_path: Path) -> None:
    short = replace(inputs, training=inputs.training[:1], validation=inputs.validation[:2])
    draw_training(short, tmp_path / "curve.png")
    assert imread(tmp_path / "curve.png").shape[1] == 1350


def test_both_meta_trainings_are_in_one_picture_with_their_numbers(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = list[tuple[str, pd.DataFrame]]()
    monkeypatch.setattr(
        "mooc_maml.report.figures._draw_loss", lambda axes, table: drawn.append(("loss", table))
    )
    second = inputs.training[:1], inputs.validation[:2]
    both = replace(inputs, tuned=second)
    draw_training(both, tmp_path / "curve.png")
    assert [len(table) for _, table in drawn] == [len(inputs.training), 1]
    data = figure_data(both, tables(both))
    assert data["training_curve_tuned"] is second[0]
    assert data["training_curve_validation_tuned"] is second[1]
    alone = replace(inputs, tuned=None)
    assert "training_curve_tuned" not in figure_data(alone, tables(alone))


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("maml_K5_Q10.json", "test"),
        ("ablations_K5_Q10.json", "ablate"),
        ("cold_start_K5_Q10.json", "ablate"),
        ("controls_K5_Q10.json", "controls"),
        ("preprocess.json", "preprocess"),
        ("plots/training.csv", "meta_train"),
        ("plots/param_change.csv", "test"),
    ],
)
def test_a_missing_input_names_file_and_stage(
    tmp_path: Path, params: Params, name: str, stage: str
) -> None:
    (write_run(tmp_path) / name).unlink()
    with pytest.raises(UserError, match=re.escape(name) + f".*stage {stage}"):
        build(tmp_path, params)


def test_a_missing_key_or_column_is_named(tmp_path: Path, params: Params) -> None:
    results_path = write_run(tmp_path)
    (results_path / "plots" / "training.csv").write_text("step,train_loss\n1,2\n")
    with pytest.raises(UserError, match="column iteration, found step, train_loss"):
        read_inputs(results_path, params)
    path = results_path / "ablations_K5_Q10.json"
    content = json.loads(path.read_text())
    del content["inner_steps"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"ablations_K5_Q10\.json: key inner_steps is missing"):
        read_inputs(results_path, params)


def test_the_advice_names_the_stage_that_makes_the_file(tmp_path: Path, params: Params) -> None:
    results_path = write_run(tmp_path)
    (results_path / "baselines_K5_Q10.json").unlink()
    with pytest.raises(UserError, match=r"Q10\.json: no such file; stage train_baselines makes it"):
        read_inputs(results_path, params)


def test_trained_on_validation_learners_is_shown_by_those_left_out(
    tmp_path: Path, params: Params
) -> None:
    """The mixture's weights are fitted on all of them: its figure there says too much."""
    results_path = write_run(tmp_path)
    path = results_path / "maml_K5_Q10.json"
    content = json.loads(path.read_text())
    content["baselines"] |= {"mixture": block(0.3), "pool": block(0.3)}
    content["validation"] += [{"model": name, **block(0.5)} for name in ("mixture", "pool")]
    path.write_text(json.dumps(content))
    composites = common(True, 412) | {
        "baselines": {},
        "training": {"mixture": [{"left_out_validation": block(0.25)}]},
        "left_out_validation": {"pool": block(0.15)},
        "seen_courses": AS_IS,
    }
    (results_path / "composites_K5_Q10.json").write_text(json.dumps(composites))
    inputs = read_inputs(results_path, params)
    shown = {row.name: row.validation for row in inputs.rows()}
    assert shown["mixture"] == block(0.25)["NDCG@10"]
    assert shown["pool"] == block(0.15)["NDCG@10"]
    assert shown["few_shot"] == block(0.2)["NDCG@10"], "the others' stay"
    order = [row.name for row in inputs.rows()]
    assert order.index("zero_shot") < order.index("mixture") < order.index("few_shot")
    (results_path / "composites_K5_Q10.json").unlink()
    without = {row.name: row.validation for row in read_inputs(results_path, params).rows()}
    assert without["mixture"] == block(0.5)["NDCG@10"]


def test_file_names_follow_the_sizes_of_an_episode(tmp_path: Path) -> None:
    content = committed.settings()
    content["episodes"] |= {"support_size": 3, "query_size": 7}
    with pytest.raises(UserError, match=r"maml_K3_Q7\.json"):
        read_inputs(write_run(tmp_path), parse_params(content))


@pytest.mark.usefixtures("unpainted")
def test_config_holds_every_setting_and_the_versions(tmp_path: Path, params: Params) -> None:
    results_path = write_run(tmp_path)
    build(tmp_path, params)
    config = json.loads((results_path / "report" / "config.json").read_text())
    assert parse_params(config["settings"]) == params
    assert {"python", "torch", "dvc", "numpy", "duckdb"} <= set(config["versions"])
    assert (config["threads"], config["data_source"], config["synthetic"]) == (2, "synthetic", True)


def test_code_is_recorded_by_the_name_that_git_gives_it(tmp_path: Path) -> None:
    (tmp_path / "code" / "b").mkdir(parents=True)
    (tmp_path / "code" / "b.py").write_text("b")
    (tmp_path / "code" / "b" / "run").write_text("x")
    (tmp_path / "code" / "b" / "run").chmod(0o755)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "m"]):
        subprocess.run([*git, *words], check=True)
    told = subprocess.run(
        [*git, "rev-parse", "HEAD:code"], capture_output=True, text=True, check=True
    )
    assert git_tree(tmp_path / "code") == told.stdout.strip()
    (tmp_path / "code" / "__pycache__").mkdir()
    assert git_tree(tmp_path / "code") == told.stdout.strip()
    (tmp_path / "code" / "b.py").write_text("changed")
    assert git_tree(tmp_path / "code") != told.stdout.strip()


def test_the_stage_prints_the_table_or_one_line_of_error(tmp_path: Path) -> None:
    results_path = write_run(tmp_path)
    command = [sys.executable, "-m", "stages.visualize", "--results", str(results_path)]
    command += ["--models", str(tmp_path / "models"), "--report", str(results_path / "report")]
    (tmp_path / "params.yaml").write_text(committed.settings_text())
    how = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120}
    how["env"] = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, **how)
    assert re.search(r"MAML few-shot +31\.3 %", done.stdout)
    (results_path / "preprocess.json").unlink()
    failed = subprocess.run(command, check=False, **how)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "preprocess.json: no such file" in failed.stderr
