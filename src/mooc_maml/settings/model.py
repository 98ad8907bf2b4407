"""The section `model` of params.yaml: the recommender."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, StrictInt, model_validator

from mooc_maml.settings.types import Between, Depth, Section, ShareBelowOne, Size


class TransformerParams(Section):
    """Shape of the Transformer that is meta-trained."""

    dim: Size
    heads: Depth
    blocks: Annotated[StrictInt, AfterValidator(Between(1, 8))]

    @model_validator(mode="after")
    def _heads_share_the_state(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim}: expected a multiple of heads, {self.heads}")
        return self


class ModelParams(Section):
    """The recommender that is meta-trained, and the shape of the GRU, which is a baseline too."""

    backbone: Literal["gru", "transformer"]
    embedding_dim: Size
    hidden_dim: Size
    layers: Annotated[StrictInt, AfterValidator(Between(1, 8))]
    dropout: ShareBelowOne
    transformer: TransformerParams

    def gru_shape(self) -> dict[str, Any]:
        """What the GRU's constructor takes besides the number of courses."""
        return {
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "layers": self.layers,
            "dropout": self.dropout,
        }
