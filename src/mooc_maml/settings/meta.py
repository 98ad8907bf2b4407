"""The section `meta` of params.yaml: ways to adapt, and to learn how."""

from typing import Literal

from pydantic import StrictBool

from mooc_maml.settings.types import CountOrNone, Section, ShareBelowOne, Strength

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
    first_order_updates: CountOrNone
    multi_step_updates: CountOrNone
    proximal: Strength
    adapt_on: AdaptOn
    dropout: ShareBelowOne
    weight_decay: Strength
    average: ShareBelowOne
    schedule: Literal["constant", "cosine"]
    pointer: Strength | None
    supervised: Strength
