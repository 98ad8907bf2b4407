"""Settings of the baseline popularity."""

from mooc_maml.settings.types import Section


class PopularityParams(Section):
    """None."""
