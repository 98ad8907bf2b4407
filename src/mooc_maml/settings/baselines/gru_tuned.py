"""Settings of the baseline gru_tuned, and of gru_tuned_with_history."""

from mooc_maml.settings.training import EarlyStopped
from mooc_maml.settings.types import Size


class TunedGRUParams(EarlyStopped):
    """Shape and training of the GRU at its best."""

    embedding_dim: Size
    hidden_dim: Size
