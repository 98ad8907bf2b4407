"""Kinds of value that settings are made of."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr


def _number(value: object) -> object:
    """Read `1e-05` as a number: YAML 1.1 takes it for text, and `-S inner_lr=1e-5` writes it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number")
    try:
        return float(value)
    except ValueError:
        raise ValueError("expected a number") from None


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
Text = Annotated[StrictStr, Field(min_length=1)]
ColumnName = Text


class Section(BaseModel):
    """Settings that belong together: no key but these, and no change after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True)
