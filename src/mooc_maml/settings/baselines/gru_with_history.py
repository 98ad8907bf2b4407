"""Settings of the baseline gru_with_history."""

from mooc_maml.settings.types import Section


class GRUWithHistoryParams(Section):
    """None: it has those of `baselines.gru`."""
