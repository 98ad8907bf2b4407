"""Settings of the baseline v_sknn."""

from typing import Annotated

from pydantic import AfterValidator, StrictInt

from mooc_maml.settings.types import Between, Section


class VSKNNParams(Section):
    """How many past sessions vote."""

    neighbours: Annotated[StrictInt, AfterValidator(Between(1, 10_000_000))]
