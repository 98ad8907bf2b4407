"""Settings of gru_further, the plain GRU trained on for as long as meta-training."""

from typing import ClassVar

from mooc_maml.settings.types import Count, CountOrNone, Epochs, Learners, Rate, Section


class FurtherGRUParams(Section):
    """Further training on meta-batches; an epoch ends with an evaluation of validation."""

    made_of: ClassVar[tuple[str, ...]] = ("gru",)
    epochs: Epochs
    updates: Count
    patience: CountOrNone
    batch_size: Learners
    learning_rate: Rate
