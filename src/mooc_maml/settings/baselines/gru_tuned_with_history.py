"""Settings of the baseline gru_tuned_with_history."""

from mooc_maml.settings.types import Section


class TunedGRUWithHistoryParams(Section):
    """None: it has those of `baselines.gru_tuned`."""
