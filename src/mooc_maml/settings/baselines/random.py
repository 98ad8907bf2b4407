"""Settings of the baseline random."""

from mooc_maml.settings.types import Section


class RandomParams(Section):
    """None: the root of its draws is `seed`."""
