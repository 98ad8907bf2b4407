"""Settings of the baseline sasrec, and of sasrec_with_history."""

from typing import Self

from pydantic import model_validator

from mooc_maml.settings.training import EarlyStopped
from mooc_maml.settings.types import Depth, Size


class SASRecParams(EarlyStopped):
    """Shape and training of the Transformer."""

    dim: Size
    heads: Depth
    blocks: Depth

    @model_validator(mode="after")
    def _heads_share_the_state(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim}: expected a multiple of heads, {self.heads}")
        return self
