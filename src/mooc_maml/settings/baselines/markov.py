"""Settings of the baseline markov."""

from mooc_maml.settings.types import Section


class MarkovParams(Section):
    """None."""
