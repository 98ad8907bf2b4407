"""The section `episodes` of params.yaml: from pairs to few-shot tasks."""

from typing import Literal, Self

from pydantic import model_validator

from mooc_maml.settings.types import Pairs, Section, Seed, Share


class EpisodeParams(Section):
    """How pairs become few-shot tasks."""

    split_seed: Seed | None
    support_size: Pairs
    query_size: Pairs
    stride: Pairs
    position: Literal["last", "first"]
    train_fraction: Share
    validation_fraction: Share
    test_fraction: Share
    max_prefix_length: Pairs

    @model_validator(mode="after")
    def _fractions_add_up(self) -> Self:
        total = self.train_fraction + self.validation_fraction + self.test_fraction
        if abs(total - 1) > 1e-6 or 0 in (
            self.train_fraction,
            self.validation_fraction,
            self.test_fraction,
        ):
            raise ValueError(
                "train_fraction, validation_fraction and test_fraction must each be above 0 "
                f"and add up to 1, not {total:g}"
            )
        return self
