"""The section `ablations` of params.yaml."""

from typing import Annotated

from pydantic import Field

from mooc_maml.settings.types import Pairs, Section, Steps


class AblationParams(Section):
    """Values that the ablations walk through, and the size of the controls."""

    support_sizes: Annotated[tuple[Pairs, ...], Field(min_length=1)]
    inner_steps: Annotated[tuple[Steps, ...], Field(min_length=1)]
    control_repeats: Steps
