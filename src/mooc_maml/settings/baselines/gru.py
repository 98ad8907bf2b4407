"""Settings of the baseline gru, and of gru_with_history."""

from mooc_maml.settings.types import Epochs, Rate, Rows, Section


class GRUParams(Section):
    """Training of the study's GRU; its shape is that of the section `model`."""

    epochs: Epochs
    batch_size: Rows
    learning_rate: Rate
