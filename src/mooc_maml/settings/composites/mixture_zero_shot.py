"""Settings of mixture_zero_shot, the mixture before adaptation."""

from typing import ClassVar

from mooc_maml.settings.types import Section


class MixtureZeroShotParams(Section):
    """None: its weights are the mixture's."""

    made_of: ClassVar[tuple[str, ...]] = ("mixture",)
