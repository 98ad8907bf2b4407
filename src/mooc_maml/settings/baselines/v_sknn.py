"""Settings of the baseline v_sknn."""

from mooc_maml.settings.types import Count, Section


class VSKNNParams(Section):
    """How many past sessions vote."""

    neighbours: Count
