"""Settings of mixture, the meta-learned pool of the baselines, and of pool."""

from typing import ClassVar

from mooc_maml.settings.types import Count, Learners, Rate, Section, Steps


class MixtureParams(Section):
    """How the mixture's weights are meta-learned."""

    made_of: ClassVar[tuple[str, ...]] = ()  # whichever baselines there are
    steps: Steps
    updates: Count
    learners: Learners
    learning_rate: Rate
