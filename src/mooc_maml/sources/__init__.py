"""Raw formats: one file and one line in SOURCES each; all give the same event table."""

from collections.abc import Callable
from dataclasses import dataclass

from mooc_maml.common.errors import UserError
from mooc_maml.settings.data import DataParams
from mooc_maml.settings.sessions import SessionParams
from mooc_maml.sources import mooccubex, table, xuetangx
from mooc_maml.sources.events import Reader


@dataclass(frozen=True)
class Source:
    """How a raw format is read, and which values of sessions.boundary make sense for it."""

    read_events: Reader
    boundaries: Callable[[DataParams], tuple[str, ...]]


SOURCES: dict[str, Source] = {
    "synthetic": Source(xuetangx.read_events, lambda data: ("gap", "platform")),
    "xuetangx": Source(xuetangx.read_events, lambda data: ("gap", "platform")),
    "mooccubex": Source(mooccubex.read_events, lambda data: ("platform",)),
    "table": Source(table.read_events, table.boundaries),
}


def has_clock(data: DataParams) -> bool:
    """Whether times are moments of study, from which pauses and durations can be told."""
    return "gap" in SOURCES[data.source].boundaries(data)


def check_boundary(data: DataParams, sessions: SessionParams) -> None:
    """Refuse a session boundary that the source cannot give.

    Raises:
        UserError: naming the boundary that it can give.
    """
    allowed = SOURCES[data.source].boundaries(data)
    if sessions.boundary in allowed:
        return
    why = {
        "gap": "has no clock times of study to find pauses in; a learner's history (or the named "
        "session column) is the session",
        "platform": "has no sessions of its own unless data.table.session names their column",
    }[sessions.boundary]
    raise UserError(
        f"sessions.boundary: found '{sessions.boundary}', but data.source = {data.source} "
        f"as set {why}; set sessions.boundary to {allowed[0]}"
    )
