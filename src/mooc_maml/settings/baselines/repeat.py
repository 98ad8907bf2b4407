"""Settings of the baseline repeat."""

from mooc_maml.settings.types import Section


class RepeatParams(Section):
    """None."""
