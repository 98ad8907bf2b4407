"""The section `sessions` of params.yaml: from events to pairs."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from mooc_maml.settings.types import Count, Number, Section


class SessionParams(Section):
    """How events are cut into sessions."""

    boundary: Literal["gap", "platform"]
    gap_seconds: Annotated[Number, Field(gt=0, le=1e9)]  # microseconds of it are an int64
    min_events: Count
    drop_consecutive_repeats: StrictBool
