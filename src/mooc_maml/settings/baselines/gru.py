"""Settings of the baseline gru, and of gru_with_history."""

from mooc_maml.settings.types import Count, Positive, Section


class GRUParams(Section):
    """Training of the study's GRU; its shape is that of the section `model`."""

    epochs: Count
    batch_size: Count
    learning_rate: Positive
