"""The section `sessions` of params.yaml: from events to pairs."""

from typing import Literal

from pydantic import StrictBool

from mooc_maml.settings.types import Count, Positive, Section


class SessionParams(Section):
    """How events are cut into sessions."""

    boundary: Literal["gap", "platform"]
    gap_seconds: Positive
    min_events: Count
    drop_consecutive_repeats: StrictBool
