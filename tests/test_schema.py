"""Result files: what is written is read back, and what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_report import ROOT, ablations_json, block, cold_start_json, controls_json, maml_json

from mooc_maml.common.errors import UserError
from mooc_maml.common.results import Result, plain, read_result, write_result
from mooc_maml.episodes.account import EpisodesResult
from mooc_maml.evaluation.curves_schema import AblationsResult, ColdStartResult
from mooc_maml.evaluation.schema import (
    METRICS,
    ControlsResult,
    Metrics,
    SeedsResult,
    TestResult,
    TrainedResult,
)
from mooc_maml.preprocess.account import PreprocessResult
from mooc_maml.report.summary import ReportResult

KINDS: dict[str, type[Result]] = {
    "maml_K5_Q10": TestResult,
    "baselines_K5_Q10": TrainedResult,
    "composites_K5_Q10": TrainedResult,
    "ablations_K5_Q10": AblationsResult,
    "cold_start_K5_Q10": ColdStartResult,
    "controls_K5_Q10": ControlsResult,
    "seeds_K5_Q10": SeedsResult,
    "episodes": EpisodesResult,
    "preprocess": PreprocessResult,
    "report/report": ReportResult,
}


@pytest.mark.parametrize("name", KINDS)
def test_committed_results_are_of_the_schema_and_come_back_byte_for_byte(
    name: str, tmp_path: Path
) -> None:
    path = ROOT / "results" / f"{name}.json"
    if not path.is_file():
        pytest.skip("not made by `dvc repro` alone")
    copy = tmp_path / "copy.json"
    write_result(copy, read_result(path, KINDS[name]))
    assert copy.read_bytes() == path.read_bytes()


def test_metrics_are_asked_for_by_name() -> None:
    found = Metrics.model_validate(block(0.1))
    assert [found[metric] for metric in METRICS] == list(block(0.1).values())
    assert plain(found) == block(0.1)
    with pytest.raises(KeyError):
        found["HR@3"]


def changed(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The content with one value changed; None takes the key away."""
    *keys, last = place.split("/")
    inner: Any = content
    for key in keys:
        inner = inner[int(key) if isinstance(inner, list) else key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "kind", "place", "value", "words"),
    [
        (maml_json, TestResult, "few_shot/MRR", None, "key few_shot.MRR is missing"),
        (maml_json, TestResult, "learners", "412", "key learners is wrong: found 412"),
        (maml_json, TestResult, "few_vs_zero", [], "key few_vs_zero is unknown"),
        (maml_json, TestResult, "few_shot/HR@1", 31.3, "key few_shot.HR@1 is wrong: found 31.3"),
        (cold_start_json, ColdStartResult, "curves/0/metric", "HR@3", "curves.0.metric is wrong"),
        (
            controls_json,
            ControlsResult,
            "differences/few_shot_minus_zero_shot/1/low",
            None,
            "key differences.few_shot_minus_zero_shot.1.low is missing",
        ),
        (
            ablations_json,
            AblationsResult,
            "inner_steps/0/model",
            None,
            "key inner_steps.0.model is missing",
        ),
        (
            controls_json,
            ControlsResult,
            "helps/few_shot",
            1,
            "key helps.few_shot is wrong: found 1",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(
    tmp_path: Path, content: Any, kind: type[Result], place: str, value: Any, words: str
) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps(content()))
    read_result(path, kind)
    path.write_text(json.dumps(changed(json.loads(path.read_text()), place, value)))
    with pytest.raises(UserError) as error:
        read_result(path, kind)
    assert words in str(error.value)
    assert "some.json" in str(error.value)


def test_no_file_no_json_and_no_object_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_result(tmp_path / "none.json", TestResult)
    path = tmp_path / "some.json"
    path.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_result(path, TestResult)
    path.write_text("[]")
    with pytest.raises(UserError, match=r"some\.json: content is wrong"):
        read_result(path, TestResult)


def test_what_there_is_not_is_left_out_and_comes_back(tmp_path: Path) -> None:
    real = maml_json(synthetic=False)
    result = TestResult.model_validate_json(json.dumps(real))
    assert plain(result) == json.loads(json.dumps(real)), "no oracle, no share of the way to it"
    assert result.oracle is None
    assert set(result.models) == {"popularity", "gru", "zero_shot", "few_shot"}
