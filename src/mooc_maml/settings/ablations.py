"""The section `ablations` of params.yaml."""

from typing import Annotated

from pydantic import Field

from mooc_maml.settings.types import Count, Section


class AblationParams(Section):
    """Values that the ablations walk through, and the size of the controls."""

    support_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    inner_steps: Annotated[tuple[Count, ...], Field(min_length=1)]
    control_repeats: Count
