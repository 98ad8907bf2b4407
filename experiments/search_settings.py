"""search.yaml: what a hyper-parameter search varies, and how long."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Discriminator, Field, StrictBool, Tag, ValidationError, model_validator

from mooc_maml.common.errors import UserError
from mooc_maml.settings.types import Count, Number, Section

# Those that leave the episodes, and so the figures that are compared, as they are.
KEYS = (
    "use_second_order",
    "inner_lr",
    "outer_lr",
    "num_inner_steps",
    "meta_batch_size",
    "max_grad_norm",
    "model.embedding_dim",
    "model.hidden_dim",
    "model.layers",
)
Value = bool | int | float


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

    def ends(self) -> list[float]:
        """The values that show whether all are allowed."""
        return [self.low, self.high]


class Choices(Section):
    """A few values."""

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
    """search.yaml."""

    trials: Count
    startup_trials: Count
    space: Annotated[dict[str, Values], Field(min_length=1)]

    @model_validator(mode="after")
    def _keys_exist(self) -> "SearchSettings":
        for key in self.space:
            if key not in KEYS:
                raise ValueError(f"space: {key}: cannot be searched; allowed: {', '.join(KEYS)}")
        return self


def load_search(path: Path) -> SearchSettings:
    """Read and check a settings file of a search.

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
