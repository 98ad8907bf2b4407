"""Settings of pool, the mixture's parts without meta-learning."""

from typing import ClassVar

from mooc_maml.settings.types import Section


class PoolParams(Section):
    """None: it is trained as `composites.mixture` says, but takes no steps."""

    made_of: ClassVar[tuple[str, ...]] = ()  # whichever baselines there are
