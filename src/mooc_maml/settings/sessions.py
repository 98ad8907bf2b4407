"""The section `sessions` of params.yaml: from events to pairs."""

from typing import Annotated, Literal

from pydantic import AfterValidator, StrictBool

from mooc_maml.settings.types import Between, Number, Rows, Section


class SessionParams(Section):
    """How events are cut into sessions."""

    boundary: Literal["gap", "platform"]
    # Microseconds of it are an int64.
    gap_seconds: Annotated[Number, AfterValidator(Between(0, 1_000_000_000, above=True))]
    min_events: Rows
    drop_consecutive_repeats: StrictBool
