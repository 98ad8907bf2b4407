"""Settings of blend, fixed weights of a GRU, the Markov chain and V-SKNN."""

from typing import ClassVar

from mooc_maml.settings.types import Section


class BlendParams(Section):
    """None: its weights are chosen among tenths."""

    made_of: ClassVar[tuple[str, ...]] = ("gru", "markov", "v_sknn")
