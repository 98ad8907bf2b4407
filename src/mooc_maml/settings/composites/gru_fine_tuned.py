"""Settings of gru_fine_tuned, the plain GRU after gradient steps on the support pairs."""

from typing import Annotated, ClassVar

from pydantic import Field

from mooc_maml.settings.meta import AdaptOn
from mooc_maml.settings.types import Rate, Section, Steps


class FineTunedGRUParams(Section):
    """What is tried on the validation learners."""

    made_of: ClassVar[tuple[str, ...]] = ("gru",)
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    bias_rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    steps: Annotated[tuple[Steps, ...], Field(min_length=1)]
    adapt_on: Annotated[tuple[AdaptOn, ...], Field(min_length=1)]
