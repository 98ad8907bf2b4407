"""Raw files with all kinds of damage: a plain word or a right count, never anything else.

So many cases of each kind:
MOOC_MAML_FUZZ=2000 python -m pytest tests/test_fuzz_sources.py --hypothesis-profile thorough
"""

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import committed
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_spellings import (
    EVENTS,
    PACKINGS,
    RIGHT,
    account_of,
    as_csv,
    as_iso,
    as_lines,
    as_parquet,
    brief,
    pairs_of,
    seconds,
    users,
)
from raw_spellings import dump as dump_of_events

from mooc_maml.common.errors import UserError
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.settings.params import Params, parse_params
from mooc_maml.sources import SOURCES
from mooc_maml.sources.events import EVENT_SCHEMA, MAX_ID, NO_TEXT, ReadReport
from mooc_maml.sources.ids import BLANKS
from mooc_maml.sources.times import parse_iso

NOON = datetime(2018, 9, 28, 12)
TIME = "2018-09-28 12:00:00"
HEAD = b"who,what,when\n"


def params(source: str, **changes: Any) -> Params:
    content = committed.settings()
    content["data"] |= {"source": source, "event_prefixes": ["load_"], **changes}
    content["data"]["table"] |= {"learner": "who", "item": "what", "time": "when"}
    content["sessions"]["boundary"] = "platform" if source == "mooccubex" else "gap"
    return parse_params(content)


PARAMS = {source: params(source) for source in ("xuetangx", "mooccubex", "table")}


def read(source: str, content: bytes) -> tuple[list[tuple[str, str, datetime]], ReadReport]:
    """The events of one raw file, sound to the last byte, and the account of it."""
    report = ReadReport()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw"
        path.write_bytes(content)
        batches = list(SOURCES[source].read_events([path], PARAMS[source].data, report))
    table = pa.Table.from_batches(batches, EVENT_SCHEMA)
    table.validate(full=True)
    assert report.kept == table.num_rows
    assert report.records == report.kept + report.other_kinds + sum(report.bad.values())
    assert bool(report.examples) == bool(report.bad)
    rows = zip(*(table[name].to_pylist() for name in ("learner", "course", "time")), strict=True)
    return list(rows), report


# --- Damage of a known kind in known places: the counts and the rows are known too ---------------


def without_outer_blanks(text: str) -> str:
    return text.strip(BLANKS)


any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=NO_TEXT), max_size=8)
ids = any_text.map(without_outer_blanks).filter(bool)
too_long = st.just("x" * (MAX_ID + 1))
nonsense = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)  # beyond it a nested log is broken JSON, see below
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ids, inner, max_size=3),
    max_leaves=5,
)
bad_times = nonsense | st.sampled_from(
    ["", "noon", "2018-02-30 12:00:00", "2018-09-28T25:00:00", "28.9.2018", "86400"]
)

GOOD, OTHER, BAD = "good", "other", "bad"
events = st.one_of(
    st.just((GOOD, ["load_video", TIME])),
    st.just((OTHER, ["stop_video", "whenever"])),
    st.tuples(st.just(BAD), bad_times.map(lambda time: ["load_video", time])),
    st.tuples(st.just(BAD), nonsense.filter(lambda x: x != ["load_video", TIME])),
    st.just((BAD, ["load_video", TIME, "more"])),
    st.just((BAD, ["load_video"])),
)
sessions_of_events = st.dictionaries(ids, st.lists(events, max_size=5), max_size=3)
not_an_object = nonsense.filter(lambda x: not isinstance(x, dict))
not_a_list = nonsense.filter(lambda x: not isinstance(x, list))


@given(data=st.data())
def test_nested_records_are_counted_one_by_one(data):
    log: list[Any] = []
    kept, other, bad = [], 0, 0
    for _ in range(data.draw(st.integers(1, 4))):
        course, learners = data.draw(ids), {}
        for learner in data.draw(st.lists(ids, max_size=3, unique=True)):
            found = data.draw(sessions_of_events)
            learners[learner] = {s: [event for _, event in many] for s, many in found.items()}
            fates = [fate for many in found.values() for fate, _ in many]
            kept += [(learner, course, NOON)] * fates.count(GOOD)
            other, bad = other + fates.count(OTHER), bad + fates.count(BAD)
            if data.draw(st.booleans()):
                learners[learner]["another session"] = data.draw(not_a_list)
                bad += 1
        log.append([course, learners])
        damaged = data.draw(
            st.none()
            | not_a_list
            | st.builds(lambda c, x: [c, x], ids, not_an_object)
            | st.builds(lambda c: [c, {"7": {"s": [["load_video", TIME]]}}], too_long)
            | st.builds(lambda c: ["c", {c: {"s": [["load_video", TIME]]}}], too_long)
        )
        if damaged is not None:
            log.append(damaged)
            bad += 1
    rows, report = read("xuetangx", json.dumps(log).encode())
    assert sorted(rows) == sorted(kept)
    assert (report.other_kinds, report.bad_records) == (other, bad)


lines_of_users = st.one_of(
    st.tuples(st.integers(1, 9), st.just(0), st.just("")),
    st.tuples(st.just(0), st.just(1), nonsense.map(json.dumps)),
    st.tuples(st.just(0), st.just(1), st.sampled_from(["{", '{"id": 5', "[[", "\ufeff{}", "nil"])),
    st.tuples(st.just(0), st.just(1), too_long.map(lambda x: json.dumps(user(x, [1], [TIME])))),
    st.tuples(st.just(1), st.just(1), bad_times.map(lambda t: json.dumps(two_courses(t)))),
    st.tuples(
        st.just(0),
        st.just(1),
        ids.map(lambda x: json.dumps(user(x, [1, 2], [TIME]))),  # lists of two lengths
    ),
)


def user(name: Any, courses: list[Any], times: list[Any]) -> dict[str, Any]:
    return {"id": name, "course_order": courses, "enroll_time": times}


def two_courses(time: Any) -> dict[str, Any]:
    """The first is good, the second has a bad time."""
    return user("U", [1, 2], [TIME, time])


@given(drawn=st.lists(st.tuples(ids, lines_of_users), max_size=12))
def test_lines_of_json_are_counted_one_by_one(drawn):
    lines, expected, lost = [], [], 0
    for name, (good, bad, line) in drawn:
        courses = [f"C_{n}" for n in range(good)]
        lines.append(line or json.dumps(user(name, courses, [TIME] * good)))
        expected += [("U", "1", NOON)] if line and good else [(name, c, NOON) for c in courses]
        lost += bad
    rows, report = read("mooccubex", "\n".join(lines).encode())
    assert rows == expected
    assert (report.bad_records, report.other_kinds) == (lost, 0)


bad_rows = st.one_of(
    st.tuples(st.just(""), ids, st.just(TIME)),
    st.tuples(ids, st.just(""), st.just(TIME)),
    st.tuples(too_long, ids, st.just(TIME)),
    st.tuples(ids, ids, st.sampled_from(["", "noon", "2018-02-30 12:00:00", "9" * 400])),
    st.tuples(ids, ids),
    st.tuples(ids, ids, st.just(TIME), ids),
).filter(lambda row: not any(set(text) & set("\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028") for text in row))


@given(
    drawn=st.lists(
        st.tuples(st.just(GOOD), st.tuples(ids, ids, st.just(TIME)))
        | st.tuples(st.just(BAD), bad_rows),
        max_size=12,
    )
)
def test_rows_are_counted_one_by_one(drawn):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(row for _, row in drawn)
    rows, report = read("table", HEAD + text.getvalue().encode())
    assert rows == [(row[0], row[1], NOON) for fate, row in drawn if fate == GOOD]
    assert report.bad_records == sum(fate == BAD for fate, _ in drawn)


def test_a_quote_that_is_not_closed_costs_all_the_lines_that_it_swallows():
    lines = [f"l{n},c,{TIME}" for n in range(50)]
    lines[10] = f'l10,"c,{TIME}'
    rows, report = read("table", HEAD + "\n".join(lines).encode())
    assert [row[0] for row in rows] == [f"l{n}" for n in range(10)]
    assert report.bad_records == 40
    lines[10] = f'l10,c,"{TIME}'
    assert read("table", HEAD + "\n".join(lines).encode())[1].bad_records == 40


# --- Damage anywhere: a plain word, or sound events and a true account ---------------------------

LOG = [
    [f"c{c}", {f"{u}": {"s": [["load_video", TIME], ["stop_video", TIME]]} for u in range(3)}]
    for c in range(3)
]
USERS = [json.dumps(user(f"U_{n}", [n, n + 1], [TIME, TIME])) for n in range(6)]
ROWS = [f"l{n},c{n},{TIME}" for n in range(8)]


def parquet(**columns: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


TEXTS = pa.array([f"é{n}" for n in range(8)])
WHOLE = {
    "nested": ("xuetangx", json.dumps(LOG, indent=1).encode(), 9),
    "lines": ("mooccubex", "\n".join(USERS).encode(), 12),
    "csv": ("table", HEAD + "\n".join(ROWS).encode(), 8),
    "parquet": ("table", parquet(who=TEXTS, what=TEXTS, when=pa.array([TIME] * 8)), 8),
}

damages = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
        st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True), st.just(0)),
        st.tuples(st.just("add"), st.floats(0, 1, exclude_max=True), st.binary(max_size=12)),
        st.tuples(st.just("drop"), st.floats(0, 1, exclude_max=True), st.integers(1, 20)),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, changes: list[tuple[str, float, Any]]) -> bytes:
    for kind, where, what in changes:
        at = int(where * len(content))
        if kind == "set":
            content = content[:at] + bytes([what]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "add":
            content = content[:at] + what + content[at:]
        else:
            content = content[:at] + content[at + what :]
    return content


@pytest.mark.parametrize("name", WHOLE)
@given(changes=damages)
def test_damaged_bytes_give_a_plain_word_or_sound_events(name, changes):
    source, content, _ = WHOLE[name]
    with suppress(UserError):
        read(source, damaged(content, changes))


@pytest.mark.parametrize("name", WHOLE)
def test_the_control_without_damage_is_read_whole(name):
    source, content, kept = WHOLE[name]
    rows, report = read(source, content)
    assert (len(rows), report.bad_records) == (kept, 0)


@given(content=st.binary(max_size=200), source=st.sampled_from(sorted(PARAMS)))
def test_bytes_of_no_meaning_at_all(content, source):
    for whole in (content, b"\x1f\x8b" + content, b"PAR1" + content + b"PAR1", HEAD + content):
        with suppress(UserError):
            read(source, whole)


@pytest.mark.parametrize("name", ["lines", "csv"])
@given(data=st.data())
def test_a_damaged_line_costs_itself_alone(name, data):
    source, content, _ = WHOLE[name]
    head = HEAD if name == "csv" else USERS[0].encode() + b"\n"  # a file's first bytes say its kind
    lines = content[len(head) :].split(b"\n")
    number = data.draw(st.integers(0, len(lines) - 1))
    spoilt = data.draw(st.binary(max_size=30).filter(lambda x: not set(x) & set(b'\r\n"\x1f')))
    whole, _ = read(source, content)
    lines[number] = spoilt
    rows, report = read(source, head + b"\n".join(lines))
    before = 0 if name == "csv" else 2  # rows of the head
    a_line = (len(whole) - before) // len(lines)
    start = before + number * a_line
    assert rows == whole[:start] + whole[start + a_line :]
    assert report.bad_records == (0 if holds_nothing(spoilt, name) else 1)


def holds_nothing(line: bytes, name: str) -> bool:
    """A blank line, a row of empty cells, a bracket of an array of lines: no record to be lost."""
    if name == "csv":
        return line.strip(b" \t\0\x1a") in (b"", b",,")
    return line.strip(b" \t\r\n\v\f\0\x1a\x1e").removesuffix(b",") in (b"", b"[", b"]")


@pytest.mark.parametrize(
    "number", ["1e9999999999999999999", "9" * 5000, "-" + "9" * 5000, str(-(2**63))]
)
def test_a_number_too_large_for_any_type_is_lost_alone_or_told_in_words(number):
    log = f'[["c", {{"7": {{"s": [["load_video", {number}]]}}}}]]'
    rows, report = read("xuetangx", log.encode())
    assert (rows, report.bad_records) == ([], 1)
    rows, report = read("mooccubex", f'{{"id": {number}}}\n{USERS[0]}'.encode())
    assert (len(rows), report.bad_records) == (2, 1)


@pytest.mark.parametrize("number", ["1e999", "-2.5E+1234", "1e400"])
def test_a_number_beyond_any_float_spoils_no_other_event(number):
    events = f'["load_video", {number}], ["load_video", "{TIME}"], ["load_video", [{number}]]'
    log = f'[["c", {{"7": {{"s": [{events}]}}}}]]'
    rows, report = read("xuetangx", log.encode())
    assert (len(rows), report.bad_records) == (1, 2)


@pytest.mark.parametrize("depth", [100, 100_000])
def test_nesting_of_any_depth_is_one_bad_record(depth):
    deep = "[" * depth + "]" * depth
    rows, report = read("xuetangx", f'[{deep}, ["c", {{"7": {{"s": [{deep}]}}}}]]'.encode())
    assert (rows, report.bad_records) == ([], 2)
    rows, report = read("mooccubex", f"{deep}\n{USERS[0]}".encode())
    assert (len(rows), report.bad_records) == (2, 1)


def test_text_of_a_parquet_file_that_is_no_utf8_is_a_bad_row():
    odd = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff\xfe", b"fine"]).buffers())
    for who in (odd, odd.dictionary_encode()):
        content = parquet(who=who, what=TEXTS[:2], when=pa.array([TIME] * 2))
        rows, report = read("table", content)
        assert ([row[0] for row in rows], report.bad_records) == (["fine"], 1)


@pytest.mark.parametrize(
    "moments",
    [
        pa.array([2**62, 0], pa.timestamp("ms")),
        pa.array([2**40, 0], pa.timestamp("s")),
        pa.array([-(2**62), 0], pa.timestamp("us")),
        pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32()),
    ],
)
def test_a_moment_out_of_all_range_is_no_other_moment(moments):
    rows, report = read("table", parquet(who=TEXTS[:2], what=TEXTS[:2], when=moments))
    assert ([row[2] for row in rows], report.bad_records) == ([datetime(1970, 1, 1)], 1)


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"2 columns are called 'who' \(data\.table\.learner\)"):
        read("table", b"who,who,what,when\na,b,c," + TIME.encode() + b"\n")


# --- Time ----------------------------------------------------------------------------------------

zones = st.integers(-23 * 60, 23 * 60)
spellings = st.sampled_from(
    [
        "{d:%Y-%m-%dT%H:%M:%S}{z}",
        "{d:%Y-%m-%d %H:%M:%S}{z}",
        "{d:%Y-%m-%d %H:%M:%S.%f}{z}",
        "{d:%Y-%m-%dT%H:%M:%S,%f}{z}",
        " {d:%Y-%m-%dT%H:%M:%S}{z} ",
    ]
)


@given(
    moments=st.lists(
        st.tuples(
            st.datetimes(datetime(1001, 1, 1), datetime(9998, 1, 1)), st.none() | zones, spellings
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_spelling_of_a_moment_is_that_moment(moments):
    texts, expected = [], []
    for moment, minutes, spelling in moments:
        zone = None if minutes is None else timezone(timedelta(minutes=minutes))
        sign, size = ("-" if (minutes or 0) < 0 else "+"), abs(minutes or 0)
        z = "" if zone is None else f"{sign}{size // 60:02}:{size % 60:02}"
        texts.append(spelling.format(d=moment, z=z))
        exact = moment if "%f" in spelling else moment.replace(microsecond=0)
        utc = exact if zone is None else exact.replace(tzinfo=zone).astimezone(UTC)
        expected.append(utc.replace(tzinfo=None))
    assert parse_iso(pa.array(texts)).to_pylist() == expected


def test_the_hour_that_comes_twice_and_the_one_that_never_comes():
    autumn = ["2018-10-28T02:30:00+02:00", "2018-10-28T02:30:00+01:00"]  # summer, then winter time
    rows, _ = read("table", HEAD + "\n".join(f"l,c,{time}" for time in autumn).encode())
    assert [row[2] for row in rows] == [
        datetime(2018, 10, 28, 0, 30),
        datetime(2018, 10, 28, 1, 30),
    ]
    spring = pa.array([datetime(2018, 3, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)])
    zoned = spring.cast(pa.timestamp("s", "Europe/Berlin"))  # 1:30, then 3:30 on the wall
    rows, _ = read("table", parquet(who=TEXTS[:2], what=TEXTS[:2], when=zoned))
    assert [row[2].hour for row in rows] == [0, 1]


# --- A whole dump, one record in a hundred or three in ten of it damaged -------------------------


def dump(source: str, bad: int, total: int = 300) -> bytes:
    good = [(NOON + timedelta(seconds=n)).isoformat(" ") for n in range(total)]
    times = ["never" if n < bad else time for n, time in enumerate(good)]
    if source == "xuetangx":
        return json.dumps(
            [[f"c{c}", {"7": {"s": [["load_video", t] for t in times[c::3]]}}] for c in range(3)]
        ).encode()
    if source == "mooccubex":
        courses = [n % 3 for n in range(30)]
        users = [user(f"U{n}", courses, times[n::10]) for n in range(10)]
        return "\n".join(map(json.dumps, users)).encode()
    return HEAD + "\n".join(f"7,c{n % 3},{time}" for n, time in enumerate(times)).encode()


@pytest.mark.parametrize("source", PARAMS)
def test_one_in_a_hundred_is_listed_and_three_in_ten_stop(source, tmp_path: Path):
    (tmp_path / "raw").mkdir()
    raw = tmp_path / "raw" / "dump"
    raw.write_bytes(dump(source, 3))
    account: Any = preprocess(tmp_path / "raw", tmp_path / "pairs", PARAMS[source])
    assert (account["raw_events"], account["dropped"]["bad_records"]) == (300, 3)
    lost = sum(account["dropped"].values())
    assert account["raw_events"] == account["events_in_sessions"] + lost
    assert len(account["bad_records"]["first"]) == 3
    assert all(bad["file"] == "dump" and bad["place"] for bad in account["bad_records"]["first"])
    before = {path.name: path.read_bytes() for path in (tmp_path / "pairs").iterdir()}
    raw.write_bytes(dump(source, 90))
    with pytest.raises(UserError, match=r"90 of 300 raw records cannot be read(.|\n)*dump: "):
        preprocess(tmp_path / "raw", tmp_path / "pairs", PARAMS[source])
    assert {path.name: path.read_bytes() for path in (tmp_path / "pairs").iterdir()} == before


# --- Ids -----------------------------------------------------------------------------------------

NAMES = ["../../up", "/tmp/root", "a\x00b", "<script>", "é", "e\u0301", "\u202eright to left", "🎓"]


def test_any_id_survives_and_none_becomes_a_file_name(tmp_path: Path):
    names = [*NAMES, "y" * MAX_ID]
    clicks = [["load_video", f"2018-09-28 12:00:{n:02}"] for n in range(len(names))]
    log = [[c, {u: {u: [clicks[n]]} for u in names}] for n, c in enumerate(names)]
    made = {}
    for name, content in (("odd", log), ("plain", json.loads(dump("xuetangx", 0)))):
        folder = tmp_path / name
        (folder / "raw").mkdir(parents=True)
        (folder / "raw" / "dump.json").write_text(json.dumps(content))
        preprocess(folder / "raw", folder / "data" / "pairs", PARAMS["xuetangx"])
        made[name] = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
    assert made["odd"] == made["plain"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd", "plain"]
    for table in ("courses", "learners"):
        found = pq.read_table(tmp_path / "odd" / "data" / "pairs" / f"{table}.parquet")["id"]
        assert set(found.to_pylist()) == set(names)
    shutil.rmtree(tmp_path / "odd")


def test_places_that_are_shown_are_short(tmp_path: Path):
    long = "z" * MAX_ID
    _, report = read("xuetangx", json.dumps([[long, {long: {long: [5]}}]]).encode())
    assert len(report.examples[0]["place"]) <= 301


# --- One set of events in any spelling: the same pairs, to the byte ------------------------------


@st.composite
def csv_of_any_spelling(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A CSV of some of the events, and the settings of its times."""
    spellings: list[tuple[str, Callable[[datetime], str]]] = [
        ("iso", as_iso),
        ("iso", lambda t: t.isoformat()),
        ("iso", lambda t: f"{t:%Y/%m/%d %H:%M}"),
        ("iso", lambda t: f"{t.year}.{t.month}.{t.day} {t.hour}:{t:%M}"),
        ("iso", lambda t: f"{t:%Y-%m-%d %H:%M:%S} UTC"),
        ("iso", lambda t: f"{t + timedelta(hours=8):%Y-%m-%dT%H:%M:%S.000+08:00}"),
        ("iso", lambda t: f"{t:%Y%m%dT%H%M%SZ}"),
        ("iso", lambda t: f"{seconds(t)}000"),
        ("epoch", lambda t: str(seconds(t))),
        ("epoch", lambda t: f"{seconds(t)}.0"),
        ("epoch", lambda t: f"{seconds(t)}000000"),
        ("%d.%m.%Y %H:%M", lambda t: f"{t:%d.%m.%Y %H:%M}"),
        ("%b %d, %Y %I:%M %p", lambda t: f"{t:%b %d, %Y %I:%M %p}"),
    ]
    time_format, spell = draw(st.sampled_from(spellings))
    separator = draw(st.sampled_from(",;\t|"))
    blank = draw(st.sampled_from(["", " ", "\t", "\u3000", "\u200b", "\ufeff", "\0", " \u2060\0"]))
    quote = '"' if draw(st.booleans()) or "," in time_format else ""
    text = as_csv(
        separator=separator,
        spell=spell,
        name=lambda n: f"{blank}{n}" if blank != separator and n == 101 else str(n),
        end=draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n \n"])),
        quote=quote,
    )
    if quote and draw(st.booleans()):
        text = text.replace(f'"{separator}"', f'"{separator} "')
    text = draw(st.sampled_from(["", f"sep={separator}\n", "\n"])) + text
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]))
    return text.encode(encoding), {"table": {"time_format": time_format}}


@st.composite
def parquet_of_any_types(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A Parquet file of the events."""
    whole = [pa.int16(), pa.int64(), pa.uint32(), pa.float32(), pa.float64(), pa.decimal128(30, 2)]
    texts = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]

    def column(numbers: list[int], kinds: list[pa.DataType]) -> pa.Array:
        kind = draw(st.sampled_from(kinds))
        made = pa.array(numbers) if kind in whole else pa.array([str(n) for n in numbers])
        made = made.cast(kind)
        is_coded = draw(st.booleans()) and kind != pa.string_view()
        return made.dictionary_encode() if is_coded else made

    learners, courses = ([event[n] for event in EVENTS] for n in (0, 1))
    moments = [seconds(event[2]) for event in EVENTS]
    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    numbers = [moment * scale for moment in moments]
    times = draw(
        st.sampled_from(
            [
                pa.array(numbers).cast(pa.timestamp(unit)),
                pa.array(numbers)
                .cast(pa.timestamp(unit, "UTC"))
                .cast(pa.timestamp(unit, "+08:00")),
                pa.array(numbers),
                pa.array([str(n) for n in numbers]).dictionary_encode(),
                pa.array([as_iso(event[2]) for event in EVENTS], pa.large_string()),
            ]
        )
    )
    content = as_parquet(
        learner=column(learners, [*whole, *texts]),
        course=column(courses, [*whole, *texts]),
        time=times,
    )
    return content, {"table": {"time_format": draw(st.sampled_from(["iso", "epoch"]))}}


@st.composite
def users_of_any_spelling(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """Learners as JSON, however they are put one behind the other."""
    between = ["\n", "\r\n", "\r", "\n\n", "", " ", ",", ",\n", "\n,", "\n\x1e", "\n\ufeff", "\0"]
    blank = draw(st.sampled_from(["", " ", "\u200b", "\ufeff", "\0"]))
    made = users()
    made[1]["id"] = blank + made[1]["id"]
    if draw(st.booleans()):
        made[2]["id"] = float(made[2]["id"])
    numbers = draw(st.sampled_from(["NaN", "-Infinity", "1e999", "9" * 5000, "0." + "9" * 40]))
    texts = [json.dumps(user).replace('"x"', numbers, 1) for user in made]
    text = draw(st.sampled_from(between)).join(texts)
    text = draw(st.sampled_from(["{}", "[{}]", "[\n{}\n]", "\n{}\n", "{}\n\x1a"])).replace(
        "{}", text
    )
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    return text.encode(encoding), {"source": "mooccubex"}


@st.composite
def dump_of_any_spelling(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """The nested log, with numbers for courses and values that are not read."""
    log = dump_of_events()
    blank = draw(st.sampled_from(["", " ", "\u200b", "\ufeff", "\0"]))
    for entry in log:
        entry[1] = {f"{blank}{who}" if who == "101" else who: of for who, of in entry[1].items()}
        if draw(st.booleans()):
            entry[0] = float(entry[0])
    text = json.dumps(log, indent=draw(st.sampled_from([None, 1])))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]))
    return text.encode(encoding), {"source": "xuetangx"}


PLAIN: dict[str, str | bytes] = {
    "table": as_csv(),
    "mooccubex": as_lines(users()),
    "xuetangx": json.dumps(dump_of_events()),
}
PLAIN_PAIRS: dict[str, list[bytes]] = {}


@given(
    drawn=csv_of_any_spelling()
    | parquet_of_any_types()
    | users_of_any_spelling()
    | dump_of_any_spelling(),
    packing=st.sampled_from(sorted(PACKINGS)),
)
def test_any_spelling_packing_and_type_gives_the_same_pairs(drawn, packing):
    content, settings_of_it = drawn
    source = settings_of_it.setdefault("source", "table")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if source not in PLAIN_PAIRS:
            account_of(folder / "plain", PLAIN[source], source)
            PLAIN_PAIRS[source] = list(pairs_of(folder / "plain"))
        account, _ = account_of(folder / "odd", PACKINGS[packing](content), **settings_of_it)
        assert brief(account) == RIGHT
        assert account["dropped"]["bad_records"] == 0
        assert list(pairs_of(folder / "odd")) == PLAIN_PAIRS[source]
