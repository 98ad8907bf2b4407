import csv
import gzip
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mooc_maml.common.errors import UserError
from mooc_maml.sources import SOURCES, check_boundary
from mooc_maml.sources.events import EVENT_SCHEMA, ReadReport

COLUMNS = {"learner": "who", "item": "what", "time": "when"}
NOON = datetime(2018, 9, 28, 12)


def read(make_params, path, prefixes=("video",), **table):
    report = ReadReport()
    columns = {"event": None, "session": None} | COLUMNS | table
    settings = make_params(data={"table": columns, "event_prefixes": list(prefixes)}).data
    batches = SOURCES["table"].read_events([path], settings, report)
    return pa.Table.from_batches(list(batches), EVENT_SCHEMA).to_pylist(), report


def brief(rows):
    return [(row["learner"], row["course"], row["time"]) for row in rows]


@pytest.mark.parametrize("packed", [False, True])
def test_csv_plain_and_packed_with_columns_in_any_order(tmp_path, make_params, packed):
    text = "when,score,what,who\n2018-09-28 12:00:00,5,007,01\n".encode("utf-8-sig")
    path = tmp_path / "log.csv"
    path.write_bytes(gzip.compress(text) if packed else text)
    rows, report = read(make_params, path)
    assert rows == [
        {"learner": "01", "course": "007", "event": None, "time": NOON, "session": None}
    ]
    assert (report.records, report.kept) == (1, 1)


def test_odd_characters_survive(tmp_path, make_params):
    odd = [
        "a, b",
        'say "x"',
        "two\nlines",
        "清华 🎓",
        "in  between",
        "NULL",
        "nan",
        "'; DROP --",
    ]
    path = tmp_path / "log.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["who", "what", "when"])
        writer.writerows([[text, text, "2018-09-28 12:00:00"] for text in odd])
    rows, report = read(make_params, path)
    assert brief(rows) == [(text, text, NOON) for text in odd]
    assert report.bad_records == 0


@pytest.mark.parametrize(
    ("time_format", "values", "expected"),
    [
        ("iso", ["2018-09-28T12:00:00+00:00"], [NOON]),
        ("epoch", ["1538136000", "1538136000.5"], [NOON, NOON.replace(microsecond=500_000)]),
        ("order", ["0", "2"], [datetime(1970, 1, 1), datetime(1970, 1, 1, 0, 0, 2)]),
    ],
)
def test_time_formats_of_a_csv(tmp_path, make_params, time_format, values, expected):
    path = tmp_path / "log.csv"
    path.write_text("who,what,when\n" + "".join(f"a,b,{value}\n" for value in values))
    rows, _ = read(make_params, path, time_format=time_format)
    assert [row["time"] for row in rows] == expected
    assert {row["session"] for row in rows} == {"history" if time_format == "order" else None}


@pytest.mark.parametrize(
    ("time_format", "times"),
    [
        ("iso", pa.array(["2018-09-28 12:00:00"])),
        ("iso", pa.array([NOON], pa.timestamp("ns"))),
        ("iso", pa.array([NOON.replace(tzinfo=UTC)], pa.timestamp("ms", "Asia/Shanghai"))),
        ("epoch", pa.array([1_538_136_000], pa.int64())),
        ("epoch", pa.array([1_538_136_000.0])),
        ("epoch", pa.array(["1538136000"])),
    ],
)
def test_parquet_columns_of_several_types(tmp_path, make_params, time_format, times):
    path = tmp_path / "log.parquet"
    who = pa.array(["é"]).dictionary_encode()
    pq.write_table(pa.table({"when": times, "what": pa.array([7]), "who": who}), path)
    rows, _ = read(make_params, path, time_format=time_format)
    assert brief(rows) == [("é", "7", NOON)]


def test_a_parquet_date_is_its_midnight_and_null_is_bad(tmp_path, make_params):
    path = tmp_path / "log.parquet"
    when = pa.array([date(2018, 9, 28), None, date(2018, 9, 28)])
    pq.write_table(pa.table({"when": when, "what": ["a", "a", None], "who": ["x"] * 3}), path)
    rows, report = read(make_params, path)
    assert brief(rows) == [("x", "a", datetime(2018, 9, 28))]
    assert [e["place"] for e in report.examples] == ["row 2", "row 3"]


def test_kinds_are_filtered_only_where_a_column_is_named(tmp_path, make_params):
    path = tmp_path / "log.csv"
    path.write_text(
        "who,what,when,kind,visit\n"
        "a,b,2018-09-28 12:00:00,video_play,v1\n"
        "a,b,2018-09-28 12:00:00,forum,v2\n"
        "a,b,2018-09-28 12:00:00,,v2\n"
    )
    rows, report = read(make_params, path, event="kind", session="visit")
    assert [(row["event"], row["session"]) for row in rows] == [("video_play", "v1")]
    assert (report.records, report.kept, report.other_kinds) == (3, 1, 2)
    assert len(read(make_params, path)[0]) == 3
    assert len(read(make_params, path, prefixes=(), event="kind")[0]) == 3


def test_bad_rows_are_counted_with_their_place(tmp_path, make_params):
    path = tmp_path / "log.csv"
    path.write_bytes(
        b"who,what,when\n"
        b"a,b,2018-09-28 12:00:00\n"
        b"too,many,2018-09-28 12:00:00,columns\n"
        b",b,2018-09-28 12:00:00\n"  # line 4
        b"few,columns\n"
        b"a,b,noon\n"  # line 6
        b"a,\xff,2018-09-28 12:00:00\n"
        b"z,z,2018-09-28 12:00:00\n"
    )
    rows, report = read(make_params, path)
    assert brief(rows) == [("a", "b", NOON), ("z", "z", NOON)]
    assert (report.records, report.kept, report.bad_records) == (7, 2, 5)
    found = sorted((e["place"].split(",")[0], e["reason"]) for e in report.examples)
    assert found == [
        ("line 3", "expected 3 columns, found 4"),
        ("line 4", "no text in column 'who'"),
        ("line 5", "expected 3 columns, found 2"),
        ("line 6", "no iso time in column 'when'"),
        ("line 7", "bytes that are no text in column 'what'"),
    ]


def test_a_missing_column_is_named_with_those_found(tmp_path, make_params):
    path = tmp_path / "log.csv"
    path.write_text("who,course,when\n")
    with pytest.raises(UserError, match=r"no column 'what' \(data.table.item\); found .*'course'"):
        read(make_params, path)
    pq.write_table(pa.table({"who": ["a"], "when": ["b"]}), path)
    with pytest.raises(UserError, match=r"no column 'what' \(data.table.item\); found \['who'"):
        read(make_params, path)


@pytest.mark.parametrize("content", [b"", b"\x89\xff\xfe\n\xff", b"PAR1 and no more", b"PAR1"])
def test_what_is_no_table_stops_with_the_file(tmp_path, make_params, content):
    path = tmp_path / "log.csv"
    path.write_bytes(content or gzip.compress(content))
    with pytest.raises(UserError, match=r"log\.csv: "):
        read(make_params, path)


def test_rows_across_blocks_are_all_read_and_numbered(tmp_path, make_params, monkeypatch):
    monkeypatch.setattr("mooc_maml.sources.csv_text.BLOCK_BYTES", 200)
    path = tmp_path / "log.csv"
    lines = [f"l{i},c,2018-09-28 12:00:00" for i in range(100)]
    lines[90] = "l90,c,never"
    path.write_text("who,what,when\n" + "\n".join(lines))
    rows, report = read(make_params, path)
    assert [row["learner"] for row in rows] == [f"l{i}" for i in range(100) if i != 90]
    assert report.examples[0]["place"] == "line 92, time 'never'"


@pytest.mark.parametrize(
    ("time_format", "session", "boundary", "advice"),
    [
        ("iso", None, "platform", "set sessions.boundary to gap"),
        ("order", None, "gap", "set sessions.boundary to platform"),
        ("order", "visit", "gap", "set sessions.boundary to platform"),
    ],
)
def test_a_boundary_that_the_columns_cannot_give_is_refused(
    make_params, time_format, session, boundary, advice
):
    table = {"time_format": time_format, "session": session}
    params = make_params(data={"source": "table", "table": table}, sessions={"boundary": boundary})
    with pytest.raises(UserError, match=advice):
        check_boundary(params.data, params.sessions)
