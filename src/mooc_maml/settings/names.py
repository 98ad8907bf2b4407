"""Sections that name models and have a sub-section for each: `baselines` and `composites`."""

from difflib import get_close_matches
from typing import Self

from pydantic import model_validator

from mooc_maml.settings.types import Section


class ModelsParams(Section):
    """The models to be trained; every other field is the sub-section of the model of that name."""

    models: tuple[str, ...]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All models that there are, in the order of the table."""
        return tuple(name for name in cls.model_fields if name != "models")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"models {', '.join(self.models)}: expected no model twice")
        return self


def known(name: str, section: type[ModelsParams]) -> str:
    """A name of `models`, if the section has it.

    Raises:
        ValueError: it has not; the message says which there are, and which is like it.
    """
    if name not in section.names():
        like = get_close_matches(name, section.names(), n=3, cutoff=0.6)
        raise ValueError(
            f"expected one of {', '.join(section.names())}"
            + (f"; did you mean {' or '.join(like)}?" if like else "")
        )
    return name
