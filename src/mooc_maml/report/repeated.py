"""The results of several seeds, which `python -m experiments.seeds` gathers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from mooc_maml.common.results import read_result
from mooc_maml.evaluation.schema import OverSeeds, SeedsResult
from mooc_maml.report.inputs import LABELS, label_of
from mooc_maml.report.words import number, percent, points
from mooc_maml.settings.evaluation import MetricName
from mooc_maml.settings.params import Params


def shared_settings(params: Params) -> dict[str, Any]:
    """Settings that results must have in common to be repetitions: all but seeds and machine."""
    content = params.model_dump(mode="json", exclude={"seed", "hardware", "ablations"})
    del content["episodes"]["split_seed"]
    return content


def read_seeds(path: Path, params: Params) -> SeedsResult | None:
    """The file's content; None where there is none, or one of other settings.

    Raises:
        UserError: it is no file of that program.
    """
    if not path.is_file():
        return None
    found = read_result(path, SeedsResult)
    return found if found.settings == shared_settings(params) else None


_VARIED = {
    "both": "the learner split, the initialisation and all sampling",
    "split": "the learner split alone",
    "training": "the initialisation and all sampling, on one learner split",
}
_MINUS = {
    "few_shot_minus_zero_shot": "few-shot − zero-shot, points",
    "few_shot_minus_gru": "few-shot − GRU, points",
}


def seeds_table(found: SeedsResult) -> dict[str, Any]:
    """The table over seeds: models in percent, differences in points."""
    names = [name for name in LABELS if name in found.models]
    names = [name for name in found.models if name not in LABELS] + names
    rows = [
        {"name": name, "label": label_of(name), "cells": _over_seeds(found.models[name], percent)}
        for name in names
    ]
    rows += [
        {
            "name": key,
            "label": label,
            "cells": _over_seeds(found.differences[key], lambda x: points(x, unit=False)),
        }
        for key, label in _MINUS.items()
    ]
    about = {"number": len(found.seeds), "varied": _VARIED[found.varied]}
    return about | {"read": found.test_reads, "rows": rows}


def _over_seeds(
    of: Mapping[MetricName, OverSeeds], told: Callable[[float], str]
) -> list[dict[str, str]]:
    return [
        {
            "value": told(of[metric].mean),
            "interval": f"{told(number(of[metric].low))} to {told(number(of[metric].high))}",
        }
        for metric in get_args(MetricName)
    ]
