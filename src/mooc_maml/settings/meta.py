"""The section `meta` of params.yaml: ways to adapt, and to learn how."""

from typing import Literal

from pydantic import StrictBool

from mooc_maml.settings.types import CountOrNone, Rate, Section, ShareBelowOne, Strength

# Keys beside the section that a model is trained and adapted with; they stand in its file.
MAML_SETTINGS = (
    "seed",
    "use_second_order",
    "inner_lr",
    "inner_lr_bias",
    "outer_lr",
    "num_inner_steps",
    "meta_batch_size",
)

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
        "ridge",
    ]
    warm_start: StrictBool
    first_order_updates: CountOrNone
    multi_step_updates: CountOrNone
    proximal: Strength
    adapt_on: AdaptOn
    dropout: ShareBelowOne
    weight_decay: Strength
    average: ShareBelowOne
    outer_lr_few: Rate | None
    schedule: Literal["constant", "cosine"]
    pointer: Strength | None
    pointer_mixes: StrictBool
    supervised: Strength


def pointer_of(own: MetaParams) -> dict[str, float | bool]:
    """What a recommender with the pointer of the settings takes to be built; {}: it has none."""
    if own.pointer is None:
        return {}
    return {"pointer": own.pointer} | ({"pointer_mixes": True} if own.pointer_mixes else {})
