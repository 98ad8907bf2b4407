"""Settings of the baseline sasrec_with_history."""

from mooc_maml.settings.types import Section


class SASRecWithHistoryParams(Section):
    """None: it has those of `baselines.sasrec`."""
