"""Settings that several sequence models have in common."""

from typing import Annotated

from pydantic import Field, StrictInt

from mooc_maml.settings.types import Count, Number, Positive, Section


class EarlyStopped(Section):
    """Training of a sequence model that ends when validation no longer improves."""

    dropout: Annotated[Number, Field(ge=0, lt=1)]
    epochs: Count
    patience: Annotated[StrictInt, Field(ge=0)]
    batch_size: Count
    learning_rate: Positive
