"""A process's place among those started with it, as its environment tells it.

`launch` and torchrun tell it all by RANK, WORLD_SIZE and their like. A notebook or a cluster may
leave some of these behind, which says nothing of this run.
"""

import os
import sys

from mooc_maml.common.errors import UserError

RENDEZVOUS = "MOOC_MAML_RENDEZVOUS"  # file where the processes of `launch` find each other
_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")  # where those of torchrun do


def given_place() -> tuple[int, int, int, int] | None:
    """Rank, world size, rank and processes on this machine; None: run by itself.

    Raises:
        UserError: all of them are set, to what makes no sense.
    """
    if _missing():
        return None
    rank, size, local_rank = (_number(name) for name in _PLACE)
    local_size = _number("LOCAL_WORLD_SIZE") if _value("LOCAL_WORLD_SIZE") else size
    if _value("MASTER_PORT"):
        _number("MASTER_PORT")
    if not (rank < size and local_rank < local_size <= size):
        raise UserError(
            f"environment: found RANK={rank}, WORLD_SIZE={size}, LOCAL_RANK={local_rank}, "
            f"LOCAL_WORLD_SIZE={local_size}; expected ranks from 0 to below their size; {_ADVICE}"
        )
    return rank, size, local_rank, local_size


def tell_leftovers() -> None:
    """Say on standard error which variables are there without those that belong to them."""
    found = [name for name in _PLACE if _value(name)]
    if found and _missing():
        print(
            f"environment: {', '.join(found)} set without {', '.join(_missing())}: taken for left "
            "over from another program; hardware.processes counts",
            file=sys.stderr,
        )


_ADVICE = "start with torchrun, or unset them for hardware.processes to count"


def _value(name: str) -> str:
    return os.environ.get(name, "").strip()


def _missing() -> list[str]:
    address = () if _value(RENDEZVOUS) else _ADDRESS
    return [name for name in (*_PLACE, *address) if not _value(name)]


def _number(name: str) -> int:
    if not _value(name).isdecimal():
        raise UserError(
            f"environment: found {name}={_value(name)!r}; expected a number from 0 on; {_ADVICE}"
        )
    return int(_value(name))
