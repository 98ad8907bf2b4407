"""The section `hardware` of params.yaml: what the run may use of the machine."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, StrictBool, StrictInt

from mooc_maml.settings.types import Between, Rows, Section


def _processes(value: object) -> object:
    if value != "auto" and not (type(value) is int and 1 <= value <= 1024):
        raise ValueError("expected auto, or a number of processes from 1 to 1024")
    return value


class HardwareParams(Section):
    """What the run may use of the machine."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[StrictInt, AfterValidator(Between(1, 1024))]
    processes: Annotated[int | Literal["auto"], BeforeValidator(_processes)]
    tasks_at_once: Rows
    precision: Literal["float32", "float64"]
    cuda_graphs: StrictBool
