"""The section `model` of params.yaml: the recommender."""

from typing import Annotated

from pydantic import Field, StrictInt

from mooc_maml.settings.types import Count, Number, Section


class ModelParams(Section):
    """Shape of the recommender."""

    embedding_dim: Count
    hidden_dim: Count
    layers: Annotated[StrictInt, Field(ge=1, le=8)]
    dropout: Annotated[Number, Field(ge=0, lt=1)]
