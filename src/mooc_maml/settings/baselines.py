"""The section `baselines` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, model_validator

from mooc_maml.settings.types import Count, Number, Positive, Section

BaselineName = Literal[
    "random",
    "popularity",
    "repeat",
    "markov",
    "item_knn",
    "v_sknn",
    "gru",
    "gru_tuned",
    "gru_with_history",
    "gru_tuned_with_history",
    "gru_fine_tuned",
    "gru_further",
    "sasrec",
    "sasrec_with_history",
    "blend",
    "pool",
    "mixture",
    "mixture_zero_shot",
]
ALWAYS: tuple[BaselineName, ...] = ("popularity", "gru")  # what every report is written against
# What a baseline is made of, which then has to be there too.
PARTS: dict[BaselineName, tuple[BaselineName, ...]] = {
    "gru_fine_tuned": ("gru",),
    "gru_further": ("gru",),
    "blend": ("gru", "markov", "v_sknn"),
    "mixture_zero_shot": ("mixture",),
}
# What a mixture is made of, as far as they are there.
MIXED: tuple[BaselineName, ...] = (
    "popularity",
    "repeat",
    "markov",
    "item_knn",
    "v_sknn",
    "gru",
    "gru_tuned",
    "gru_with_history",
    "gru_tuned_with_history",
    "sasrec",
    "sasrec_with_history",
)
# Those of them that read the support pairs; the others look at the query's prefix alone.
READ_SUPPORT: frozenset[BaselineName] = frozenset(
    ("repeat", "gru_with_history", "gru_tuned_with_history", "sasrec_with_history")
)
# Adapted to each learner, and the same before that: rather ours than baselines to be beaten.
ADAPTED: tuple[BaselineName, BaselineName] = ("mixture", "mixture_zero_shot")
# Not asked which is the strongest on the validation learners, since many weights of theirs are
# fitted on them: the same, and its control without meta-learning.
OURS: tuple[BaselineName, ...] = ("pool", *ADAPTED)
Dropout = Annotated[Number, Field(ge=0, lt=1)]


class _EarlyStopped(Section):
    """Training of a sequence model that ends when validation no longer improves."""

    dropout: Dropout
    epochs: Count
    patience: Annotated[StrictInt, Field(ge=0)]
    batch_size: Count
    learning_rate: Positive


class TunedGRUParams(_EarlyStopped):
    """Shape and training of the GRU at its best."""

    embedding_dim: Count
    hidden_dim: Count


class SASRecParams(_EarlyStopped):
    """Shape and training of the Transformer."""

    dim: Count
    heads: Count
    blocks: Count

    @model_validator(mode="after")
    def _heads_share_the_state(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim}: expected a multiple of heads, {self.heads}")
        return self


class FineTuningParams(Section):
    """What is tried on the validation learners."""

    rates: Annotated[tuple[Positive, ...], Field(min_length=1)]
    steps: Annotated[tuple[Count, ...], Field(min_length=1)]


class FurtherParams(Section):
    """Further training of the GRU on meta-batches; an epoch ends with a look at validation."""

    epochs: Count
    updates: Count
    patience: Annotated[StrictInt, Field(ge=0)]
    batch_size: Count
    learning_rate: Positive


class MixtureParams(Section):
    """How the mixture's weights are meta-learned."""

    steps: Count
    updates: Count
    learners: Count
    learning_rate: Positive


class BaselineParams(Section):
    """Which baselines there are, and how they are trained."""

    models: Annotated[tuple[BaselineName, ...], Field(min_length=1)]
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    neighbours: Count
    gru_tuned: TunedGRUParams
    gru_fine_tuned: FineTuningParams
    gru_further: FurtherParams
    sasrec: SASRecParams
    mixture: MixtureParams

    @model_validator(mode="after")
    def _models_go_together(self) -> Self:
        for name in ALWAYS:
            if name not in self.models:
                raise ValueError(
                    f"models {', '.join(self.models)}: {name} is missing; "
                    f"{' and '.join(ALWAYS)} are always needed"
                )
        for name in self.models:
            missing = [part for part in PARTS.get(name, ()) if part not in self.models]
            if missing:
                raise ValueError(
                    f"models {', '.join(self.models)}: {name} is made of "
                    f"{', '.join(PARTS[name])}; name these too, or leave it out"
                )
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"models {', '.join(self.models)}: expected no model twice")
        return self
