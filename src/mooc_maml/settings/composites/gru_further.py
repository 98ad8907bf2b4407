"""Settings of gru_further, the plain GRU trained on for as long as meta-training."""

from typing import Annotated, ClassVar

from pydantic import Field, StrictInt

from mooc_maml.settings.types import Count, Positive, Section


class FurtherGRUParams(Section):
    """Further training on meta-batches; an epoch ends with an evaluation of validation."""

    made_of: ClassVar[tuple[str, ...]] = ("gru",)
    epochs: Count
    updates: Count
    patience: Annotated[StrictInt, Field(ge=0)]
    batch_size: Count
    learning_rate: Positive
