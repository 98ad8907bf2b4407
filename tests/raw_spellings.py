"""One set of events in the spellings that users' tools give: 18 events of 3 learners, 15 pairs."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from conftest import ROOT

from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.settings.params import Params, parse_params

Event = tuple[int, int, datetime]  # learner, course, time
START = datetime(2021, 3, 1, 11, 30)
COURSES = (205, 201, 202, 206, 203, 204)
EVENTS: list[Event] = [
    (100 + learner, course, START + timedelta(days=learner, minutes=minute))
    for learner in range(3)
    for minute, course in enumerate(COURSES)
]
RIGHT = {"raw_events": 18, "sessions": 3, "learners": 3, "items": 6, "pairs": 15}


def as_iso(time: datetime) -> str:
    return time.isoformat(" ")


def seconds(time: datetime) -> int:
    return int(time.replace(tzinfo=UTC).timestamp())


def as_csv(
    events: Iterable[Event] = EVENTS,
    separator: str = ",",
    spell: Callable[[datetime], str] = as_iso,
    name: Callable[[int], str] = str,
    course: Callable[[int], str] = str,
    end: str = "\n",
    quote: str = "",
) -> str:
    rows: list[Iterable[str]] = [("learner", "course", "time")]
    rows += [(name(who), course(what), spell(time)) for who, what, time in events]
    return "".join(separator.join(f"{quote}{x}{quote}" for x in row) + end for row in rows)


def as_parquet(**columns: Any) -> bytes:
    """A table of the events; columns given take the place of the plain ones."""
    plain: dict[str, Any] = {
        "learner": [str(who) for who, _, _ in EVENTS],
        "course": [str(what) for _, what, _ in EVENTS],
        "time": [time for _, _, time in EVENTS],
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(plain | columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def users(events: Iterable[Event] = EVENTS) -> list[dict[str, Any]]:
    """As MOOCCubeX's user.json has them."""
    made: dict[int, dict[str, Any]] = {}
    for who, what, time in events:
        user = made.setdefault(
            who, {"id": str(who), "name": "x", "course_order": [], "enroll_time": []}
        )
        user["course_order"].append(what)
        user["enroll_time"].append(as_iso(time))
    return list(made.values())


def as_lines(content: Iterable[Any]) -> str:
    return "".join(json.dumps(user) + "\n" for user in content)


def dump() -> list[Any]:
    """As the raw activity dump of XuetangX nests them."""
    made: dict[int, Any] = {}
    for who, what, time in EVENTS:
        sessions = made.setdefault(what, {}).setdefault(str(who), {})
        sessions.setdefault(f"s{who}", []).append(["load_video", time.isoformat()])
    return [[str(what), learners] for what, learners in made.items()]


def _arrow(codec: str) -> Callable[[bytes], bytes]:
    def packed(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as file:
            file.write(content)
        made: bytes = sink.getvalue().to_pybytes()
        return made

    return packed


def as_zip(content: bytes, others: Iterable[str] = ()) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("inside/raw", *others):
            archive.writestr(name, content)
    return sink.getvalue()


def as_tar(content: bytes, others: Iterable[str] = (), mode: str = "w") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:  # type: ignore[call-overload]
        for name in ("inside/raw", *others):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "gzip, two streams": lambda x: gzip.compress(x[:99]) + gzip.compress(x[99:]),
    "bzip2": bz2.compress,
    "bzip2, two streams": lambda x: bz2.compress(x[:99]) + bz2.compress(x[99:]),
    "xz": lzma.compress,
    "xz, two streams": lambda x: lzma.compress(x[:99]) + bytes(8) + lzma.compress(x[99:]),
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
    "zstd": _arrow("zstd"),
    "zstd, two frames": lambda x: _arrow("zstd")(x[:99]) + _arrow("zstd")(x[99:]),
    "lz4": _arrow("lz4"),
    "zip": as_zip,
    "zip with README.md": lambda x: as_zip(x, ["README.md", "__MACOSX/._raw"]),
    "tar": as_tar,
    "tar with README.md": lambda x: as_tar(x, ["README.md"]),
    "tar.gz": lambda content: as_tar(content, mode="w:gz"),
    "tar.xz": lambda content: as_tar(content, mode="w:xz"),
    "zip in gzip": lambda content: gzip.compress(as_zip(content)),
}


def settings(source: str, **data: Any) -> Params:
    """params.yaml with the plain columns; `table` and `sessions` change their sections."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    table, sessions = data.pop("table", {}), data.pop("sessions", {})
    content["data"] |= {"source": source, "event_prefixes": [], **data}
    content["data"]["table"] |= table
    if source == "mooccubex" or content["data"]["table"]["time_format"] == "order":
        content["sessions"]["boundary"] = "platform"
    content["sessions"] |= sessions
    return parse_params(content)


def write(folder: Path, content: bytes | str | dict[str, Any]) -> Path:
    """A folder of raw files: one called `raw`, or several by their names."""
    files = content if isinstance(content, dict) else {"raw": content}
    for name, inside in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(inside.encode() if isinstance(inside, str) else inside)
    return folder


def account_of(
    folder: Path, content: bytes | str | dict[str, Any], source: str = "table", **data: Any
) -> tuple[dict[str, Any], list[str]]:
    """What `preprocess` makes of raw files, and the lines that it prints."""
    lines: list[str] = []
    raw = write(folder / "raw", content)
    account: Any = preprocess(raw, folder / "pairs", settings(source, **data), tell=lines.append)
    assert account["notes"] == lines
    lost = sum(account["dropped"].values())
    assert account["raw_events"] == account["events_in_sessions"] + lost
    return account, lines


def brief(account: dict[str, Any]) -> dict[str, int]:
    return {name: account[name] for name in RIGHT}


def pairs_of(folder: Path) -> Iterator[bytes]:
    """The files of pairs, as bytes."""
    for path in sorted((folder / "pairs").iterdir()):
        yield path.read_bytes()
