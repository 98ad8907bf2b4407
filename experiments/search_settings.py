"""What a hyper-parameter search varies, and how long: experiments/search.yaml, read and checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Discriminator, Field, StrictBool, Tag, ValidationError, model_validator

from experiments.settings_by_key import Value, leaves, value_of, with_changes
from mooc_maml.common.errors import UserError
from mooc_maml.runtime.pipeline import read_pipeline, tracks
from mooc_maml.settings.params import parse_params
from mooc_maml.settings.types import Count, Number, Section

WARM_START = "meta.warm_start"
NOT_SEARCHED = {  # of what meta_train reads: key or section -> why
    "seed": "the best of several seeds is best by chance",
    "episodes": "trials would be compared on different learners or queries",
    "evaluation": "trials would be compared by different metrics or rankings",
    "eval_interval": "of more evaluations the best is better by chance",
    "checkpoint_interval": "it has no effect on the figures",
    "hardware": "it has no effect on the figures but rounding",
    "model.dropout": "only baselines are trained with it",
}


class Range(Section):
    """Numbers from low to high, both included; with log, orders of magnitude are equally likely."""

    low: Number
    high: Number
    log: StrictBool = False

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"with log: true low must be above 0, found {self.low:g}")
        return self

    def ends(self) -> list[Value]:
        """The values that show whether all are allowed."""
        return [self.low, self.high]


class Choices(Section):
    """A few values: numbers, words, true and false."""

    choices: Annotated[tuple[Value, ...], Field(min_length=1)]

    def ends(self) -> list[Value]:
        """The values that show whether all are allowed."""
        return list(self.choices)


def _kind(values: object) -> str:
    has_choices = isinstance(values, Choices) or (isinstance(values, dict) and "choices" in values)
    return "choices" if has_choices else "range"


Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)
]


class SearchSettings(Section):
    """experiments/search.yaml."""

    trials: Count
    startup_trials: Count
    space: Annotated[dict[str, Values], Field(min_length=1)]


def load_search(path: Path) -> SearchSettings:
    """Read and check a settings file of a search, apart from what the pipeline's settings allow.

    Raises:
        UserError: it is missing, is no YAML, or holds something that is not allowed.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return SearchSettings.model_validate(content)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the repository's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        parts = [*fault["loc"][:2], *fault["loc"][3:]]  # the third says which kind of values
        key = ".".join(map(str, parts)) or "the whole file"
        allowed = fault["msg"].removeprefix("Value error, ")
        found = "" if isinstance(fault["input"], dict) else f"found {fault['input']!r}; "
        raise UserError(f"{path}: {key}: {found}{allowed[0].lower()}{allowed[1:]}") from None


def searchable(content: Mapping[str, Any]) -> list[str]:
    """Keys of params.yaml that meta_train depends on and that leave trials comparable."""
    stage = read_pipeline()["meta_train"]
    return [key for key in leaves(content) if tracks(stage, key) and _why_not(key) is None]


def _why_not(key: str) -> str | None:
    whole = (key.rsplit(".", n)[0] for n in range(key.count(".") + 1))  # itself, its sections
    return next((NOT_SEARCHED[name] for name in whole if name in NOT_SEARCHED), None)


def may_warm_start(search: SearchSettings, content: Mapping[str, Any]) -> bool:
    """Whether some trial begins with the weights of the baseline gru."""
    own = search.space.get(WARM_START)
    return any(own.ends()) if own else bool(content["meta"]["warm_start"])


def check_space(search: SearchSettings, content: Mapping[str, Any], path: Path) -> None:
    """Try every choice, and the ends of each range, as settings before any work.

    Args:
        search: what is searched.
        content: of params.yaml.
        path: the file of `search`, for what is said.

    Raises:
        UserError: a key cannot be searched, or one of its values is not allowed.
    """
    allowed = searchable(content)
    for key, values in search.space.items():
        if key not in allowed:
            why = _why_not(key) or "meta_train reads no such setting"
            raise UserError(
                f"{path}: space: {key}: cannot be searched, since {why}; allowed: "
                + ", ".join(allowed)
            )
        if may_warm_start(search, content) and key.startswith("model."):
            raise UserError(
                f"{path}: space: {key}: cannot be searched with {WARM_START}: true, which "
                "begins with the baseline gru as it was trained, so with its size; take the key "
                f"out of the space, or make {WARM_START} false"
            )
        for end in values.ends():
            try:
                as_setting(key, end, content, rounded=isinstance(values, Range))
            except UserError as error:
                raise UserError(f"{path}: space: {error}") from None


def as_setting(key: str, value: Value, content: Mapping[str, Any], *, rounded: bool) -> Value:
    """A value drawn or chosen as params.yaml has it.

    Args:
        key: of the setting.
        value: what was drawn or chosen.
        content: of params.yaml.
        rounded: numbers of a range get three digits, and whole ones stay whole.

    Raises:
        UserError: it is not allowed.
    """
    if rounded and isinstance(value, int | float):
        is_whole = is_whole_number(key, content) and float(value).is_integer()
        value = int(value) if is_whole else float(f"{value:.3g}")
    found: Value = value_of(parse_params(with_changes(content, {key: value})), key)
    return found


def is_whole_number(key: str, content: Mapping[str, Any]) -> bool:
    """Whether a setting counts something; judged by the value that it has."""
    value = value_of(parse_params(content), key)
    return isinstance(value, int) and not isinstance(value, bool)
