"""Kinds of value that settings are made of."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
)

T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Between:
    """Refuses a number that is not from `low` to `high`; with `above`, nor `low` itself.

    No setting may be as large as it likes: what no run could ever do is a slip of the finger.
    """

    low: float
    high: float
    above: bool = False

    def __call__(self, value: T) -> T:
        """The number itself.

        Raises:
            ValueError: it is out of range; the message says what is allowed.
        """
        if self.low <= value <= self.high and not (self.above and value == self.low):
            return value
        if self.above:
            raise ValueError(f"expected a number above {self.low:,}, at most {self.high:,}")
        raise ValueError(f"expected a number from {self.low:,} to {self.high:,}")


def _number(value: object) -> object:
    """Read `1e-05` as a number: YAML 1.1 takes it for text, and `-S inner_lr=1e-5` writes it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number")
    try:
        return float(value)
    except ValueError:
        raise ValueError("expected a number") from None


def _below_one(value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError("expected a number from 0 on, below 1")
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Rate = Annotated[Number, AfterValidator(Between(0, 1_000, above=True))]  # step sizes
Strength = Annotated[Number, AfterValidator(Between(0, 1_000_000))]
Share = Annotated[Number, AfterValidator(Between(0, 1))]
ShareBelowOne = Annotated[Number, AfterValidator(_below_one)]
Seed = Annotated[StrictInt, AfterValidator(Between(0, 2**63 - 1))]
Count = Annotated[StrictInt, AfterValidator(Between(1, 1_000_000_000))]
CountOrNone = Annotated[StrictInt, AfterValidator(Between(0, 1_000_000_000))]
Pairs = Annotated[StrictInt, AfterValidator(Between(1, 10_000))]  # of a learner, or of a prefix
Steps = Annotated[StrictInt, AfterValidator(Between(1, 1_000))]  # of adaptation
Learners = Annotated[StrictInt, AfterValidator(Between(1, 100_000))]  # in one update
Rows = Annotated[StrictInt, AfterValidator(Between(1, 1_000_000))]  # at once
Epochs = Annotated[StrictInt, AfterValidator(Between(1, 100_000))]
Size = Annotated[StrictInt, AfterValidator(Between(1, 65_536))]  # of a vector
Depth = Annotated[StrictInt, AfterValidator(Between(1, 64))]  # layers, blocks, heads
Text = Annotated[StrictStr, Field(min_length=1)]
ColumnName = Text


class Section(BaseModel):
    """Settings that belong together: no key but these, and no change after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True)
