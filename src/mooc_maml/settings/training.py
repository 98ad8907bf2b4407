"""Settings that several sequence models have in common."""

from mooc_maml.settings.types import CountOrNone, Epochs, Rate, Rows, Section, ShareBelowOne


class EarlyStopped(Section):
    """Training of a sequence model that ends when validation no longer improves."""

    dropout: ShareBelowOne
    epochs: Epochs
    patience: CountOrNone
    batch_size: Rows
    learning_rate: Rate
