"""The section `meta` of params.yaml: ways to adapt, and to learn how."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from mooc_maml.settings.types import Number, Section

RELIABILITY_STEPS = (3, 7)  # of few-shot with meta.variant: reliability; SRS from 0.5 on, below

AdaptOn = Literal["pairs", "sessions"]


class MetaParams(Section):
    """How the model is adapted, and how that is learned."""

    variant: Literal[
        "maml",
        "anil",
        "context",
        "meta_sgd",
        "maml_plus_plus",
        "reptile",
        "proximal",
        "reliability",
    ]
    warm_start: StrictBool
    first_order_updates: Annotated[StrictInt, Field(ge=0)]
    multi_step_updates: Annotated[StrictInt, Field(ge=0)]
    proximal: Annotated[Number, Field(ge=0)]
    adapt_on: AdaptOn
    dropout: Annotated[Number, Field(ge=0, lt=1)]
    weight_decay: Annotated[Number, Field(ge=0)]
    average: Annotated[Number, Field(ge=0, lt=1)]
    schedule: Literal["constant", "cosine"]
    supervised: Annotated[Number, Field(ge=0)]
