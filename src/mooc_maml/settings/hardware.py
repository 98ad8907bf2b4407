"""The section `hardware` of params.yaml: what the run may use of the machine."""

from typing import Annotated, Literal

from pydantic import Field, StrictInt

from mooc_maml.settings.types import Count, Section


class HardwareParams(Section):
    """What the run may use of the machine."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[StrictInt, Field(ge=1, le=1024)]
    processes: Annotated[StrictInt, Field(ge=1, le=1024)]
    tasks_at_once: Count
    precision: Literal["float32", "float64"]
