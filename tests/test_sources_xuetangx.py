import gzip
import io
import json
import tracemalloc
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from mooc_maml.common.errors import UserError
from mooc_maml.sources import SOURCES
from mooc_maml.sources.events import EVENT_SCHEMA, ReadReport
from mooc_maml.sources.raw_files import find_raw_files
from mooc_maml.sources.times import parse_epoch, parse_iso, parse_order

LOG = [
    ["c1", {"7": {"s1": [["load_video", "2017-05-22T18:23:06"], ["click_about", "2017-05-22"]]}}],
    ["c2", {"7": {"s1": [["seek_video", "2017-05-22T18:23:07"]]}, "8": {"s2": []}}],
]


def read(params, *files, **data):
    report = ReadReport()
    settings = params(data=data).data
    batches = list(SOURCES["xuetangx"].read_events(files, settings, report))
    return pa.Table.from_batches(batches, EVENT_SCHEMA).to_pylist(), report


def write(path: Path, content: object, **options: int) -> Path:
    text = content if isinstance(content, str) else json.dumps(content, **options)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("packed", [False, True])
def test_reads_pretty_and_compact_plain_and_packed(tmp_path, make_params, indent, packed):
    path = write(tmp_path / "a.json", LOG, indent=indent)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    rows, report = read(make_params, path)
    assert rows == [
        {
            "learner": "7",
            "course": "c1",
            "event": "load_video",
            "time": datetime(2017, 5, 22, 18, 23, 6),
            "session": "s1",
        },
        {
            "learner": "7",
            "course": "c2",
            "event": "seek_video",
            "time": datetime(2017, 5, 22, 18, 23, 7),
            "session": "s1",
        },
    ]
    assert (report.records, report.kept, report.other_kinds, report.bad_records) == (3, 2, 1, 0)


def test_no_prefixes_keeps_all_kinds_and_so_sees_more(tmp_path, make_params):
    rows, report = read(make_params, write(tmp_path / "a.json", LOG), event_prefixes=[])
    assert [row["event"] for row in rows] == ["load_video", "click_about", "seek_video"]
    assert report.other_kinds == 0


def test_a_learner_of_several_files_keeps_one_id(tmp_path, make_params):
    files = [write(tmp_path / f"{month}.json", LOG) for month in ("a", "b")]
    rows, report = read(make_params, *files)
    assert len(rows) == report.kept == 4
    assert {row["learner"] for row in rows} == {"7"}


def test_odd_characters_survive(tmp_path, make_params):
    course, learner = 'course-v1:清华 "X",+\n🎓', "й;'--"
    log = [[course, {learner: {"s": [["load_video", "2017-05-22T18:23:06"]]}}]]
    rows, _ = read(make_params, write(tmp_path / "a.json", log))
    assert (rows[0]["course"], rows[0]["learner"]) == (course, learner)


EVENT = ["load_video", "2017-05-22T18:23:06"]


@pytest.mark.parametrize(
    ("entry", "kept", "bad", "place"),
    [
        (["c", {"7": {"s": [EVENT, ["load_video", "yesterday"]]}}], 1, 1, "event 2"),
        (["c", {"7": {"s": [["load_video", "2017-02-31T00:00:00"], EVENT]}}], 1, 1, "event 1"),
        (["c", {"7": {"s": [["load_video", None], EVENT]}}], 1, 1, "event 1"),
        (["c", {"7": {"s": [[*EVENT, "more"], EVENT]}}], 1, 1, "event 1"),
        (["c", {"7": {"s": [["load_video", [["deep"], {"a": []}]], EVENT]}}], 1, 1, "event 1"),
        (["c", {"7": {"s": ["load_video", EVENT, {"a": 1}, []]}}], 1, 3, "event 1"),
        (["c", {"7": {"s": {"a": [EVENT]}, "t": [EVENT]}}], 1, 1, "session 's'"),
        (["c", {"7": [EVENT, EVENT], "8": {"s": [EVENT]}}], 1, 1, "learner '7'"),
        (["c", {"": {"s": [EVENT]}, "8": {"s": [EVENT]}}], 1, 1, "course 'c'"),
        (["c", [EVENT]], 0, 1, "course 'c'"),
        (["c"], 0, 1, "course 'c'"),
        (["c", {"7": {"s": [EVENT]}}, {"7": {"s": [EVENT]}}, 5], 1, 1, "course 'c'"),
        ([None, {"7": {"s": [EVENT]}}], 0, 1, "entry 1"),
        ([], 0, 1, "entry 1"),
        ({"c": {"7": {"s": [EVENT]}}}, 0, 1, "entry 1"),
        ("c", 0, 1, "entry 1"),
    ],
)
def test_an_unreadable_record_is_counted_with_its_place(
    tmp_path, make_params, entry, kept, bad, place
):
    good = ["d", {"9": {"s": [EVENT]}}]
    rows, report = read(make_params, write(tmp_path / "a.json", [entry, good]))
    assert (len(rows), report.kept, report.bad_records) == (kept + 1, kept + 1, bad)
    assert rows[-1]["course"] == "d"  # what follows is read
    assert report.examples[0]["file"] == "a.json"
    assert place in report.examples[0]["place"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(LOG)[:-20], "broken JSON within the first .* after course 'c2', learner"),
        (json.dumps(LOG)[:40], "broken JSON"),
        (json.dumps(LOG) + "]", "broken JSON"),
        (json.dumps(LOG).replace(":", "=", 1), "broken JSON"),
        ("", "broken JSON"),
        (" \n", "broken JSON"),
        ('{"c": 1}', "found no array at the start"),
    ],
)
def test_broken_json_stops_with_file_and_place(tmp_path, make_params, text, words):
    path = write(tmp_path / "a.json", text)
    with pytest.raises(UserError, match=f"a.json: .*{words}"):
        read(make_params, path)


def test_an_id_that_is_no_utf8_costs_itself_alone(tmp_path, make_params):
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(LOG).encode().replace(b"c1", b"\xff\xfe"))
    rows, report = read(make_params, path)
    assert [row["course"] for row in rows] == ["c2"]
    assert report.bad == {"bytes that are no text in an id": 1}
    (advice,) = report.advice
    assert "data.encoding" in advice


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:20] + b"?" + b[21:]])
def test_a_damaged_gzip_file_stops(tmp_path, make_params, damage):
    path = tmp_path / "a.json.gz"
    path.write_bytes(damage(gzip.compress(json.dumps(LOG).encode(), mtime=0)))
    with pytest.raises(UserError, match=r"a\.json\.gz: .*(cut off|damaged|broken)"):
        read(make_params, path)


def test_one_huge_course_entry_is_read_in_constant_memory(tmp_path, make_params, monkeypatch):
    monkeypatch.setattr("mooc_maml.sources.xuetangx.BATCH_ROWS", 2_000)

    def peak(events: int) -> int:
        path = tmp_path / f"{events}.json.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.write('[["c", {"7": {"s": [')
            file.write(",".join(['["load_video", "2017-05-22T18:23:06"]'] * events))
            file.write("]}}]]")
        settings, report = make_params().data, ReadReport()
        tracemalloc.start()
        for _ in SOURCES["xuetangx"].read_events([path], settings, report):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.kept == events
        return most

    assert peak(80_000) < 1.2 * peak(20_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-05-22T18:23:06", datetime(2017, 5, 22, 18, 23, 6)),
        ("2017-05-22 18:23:06", datetime(2017, 5, 22, 18, 23, 6)),
        ("2017-05-22T18:23:06.25", datetime(2017, 5, 22, 18, 23, 6, 250_000)),
        ("2017-05-22T18:23:06.123456789", datetime(2017, 5, 22, 18, 23, 6, 123_456)),
        ("2017-05-22T18:23:06Z", datetime(2017, 5, 22, 18, 23, 6)),
        ("2017-05-22T18:23:06+08:00", datetime(2017, 5, 22, 10, 23, 6)),
        ("2017-05-22 18:23:06-0130", datetime(2017, 5, 22, 19, 53, 6)),
        ("2016-02-29 00:00", datetime(2016, 2, 29)),
        ("2016-02-29", datetime(2016, 2, 29)),
        ("2017-05-22 18:23", datetime(2017, 5, 22, 18, 23)),
        ("2017/5/2 8:03", datetime(2017, 5, 2, 8, 3)),
        ("2017.05.22 18:23:06", datetime(2017, 5, 22, 18, 23, 6)),
        ("2017-05-22 18:23:06 UTC", datetime(2017, 5, 22, 18, 23, 6)),
        ("2017-05-22 18:23:06.5 +0000 UTC", datetime(2017, 5, 22, 18, 23, 6, 500_000)),
        ("2017-05-22 18:23:06 GMT+8", datetime(2017, 5, 22, 10, 23, 6)),
        ("2017-05-22T18:23:06+00", datetime(2017, 5, 22, 18, 23, 6)),
        ("20170522T182306Z", datetime(2017, 5, 22, 18, 23, 6)),
        ("20170522182306", datetime(2017, 5, 22, 18, 23, 6)),
        ("1495477386", datetime(2017, 5, 22, 18, 23, 6)),
        ("1495477386250", datetime(2017, 5, 22, 18, 23, 6, 250_000)),
        ("1495477386250001", datetime(2017, 5, 22, 18, 23, 6, 250_001)),
        ("1495477386250001999", datetime(2017, 5, 22, 18, 23, 6, 250_001)),
        ("2017-02-29T00:00:00", None),
        ("2017-05-22T25:00:00", None),
        ("0000-05-22T18:23:06", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("14954", None),
        ("05/22/2017 18:23", None),
        ("22.05.2017 18:23:06", None),
        ("", None),
        (None, None),
    ],
)
def test_spellings_of_time_are_read_alike_alone_and_among_others(text, expected):
    assert parse_iso(pa.array([text], pa.string())).to_pylist() == [expected]
    among = pa.array(["2001-01-01T00:00:00", text, "2001-02-31T00:00:00"], pa.string())
    assert parse_iso(among).to_pylist() == [datetime(2001, 1, 1), expected, None]


def test_seconds_are_read_from_numbers_and_texts():
    texts = pa.array(["1495477386", "1.5", " 2 ", "-1e0", "+3", "x", "", "nan", "1e11", None])
    times = parse_epoch(texts).cast(pa.int64()).to_pylist()
    known = [1_495_477_386_000_000, 1_500_000, 2_000_000, -1_000_000, 3_000_000]
    assert times == [*known, None, None, None, 10**17, None]
    numbers = pa.array([2**62, 3, None], pa.int64())
    assert parse_epoch(numbers).cast(pa.int64()).to_pylist() == [None, 3_000_000, None]


def test_order_numbers_keep_their_order_and_none_becomes_another():
    numbers = [-(2**62), -(10**18), -4_000_000_000_001, -4_000_000_000_000, -1, 0, 1, 2]
    numbers += [4_000_000_000_000, 4_000_000_000_001, 10**15, 10**15 + 1, 10**18 + 1]
    numbers += [1_538_136_000_123_456_789, 1_538_136_000_123_456_790, 2**62]
    halves = pa.array([-0.5, 1e-3, 1.5, 2.0, 1_538_136_000_123.25, 1_538_136_000_123.5, 1e15, 2e18])
    for column in (pa.array(numbers), pa.array([f" {n} " for n in numbers]), halves):
        times = parse_order(column).cast(pa.int64()).to_pylist()
        assert times == sorted({*times})
    small = parse_order(pa.array([0, 1, 250_000_000_000])).cast(pa.int64()).to_pylist()
    assert small == [0, 1_000_000, 250_000_000_000_000_000]
    too_large = [["", "x", None, "nan", "inf", str(2**62 + 1024), str(10**30), str(-(10**300))]]
    for column in (*map(pa.array, too_large), pa.array([2**64 - 1], pa.uint64())):
        assert parse_order(column).null_count == len(column)


def test_a_missing_folder_tells_where_to_put_the_dump_and_what_else_to_run(tmp_path):
    folder = tmp_path / "data" / "raw" / "xuetangx"
    with pytest.raises(UserError, match=r"no such folder; put .*data/raw/xuetangx/") as error:
        find_raw_files(folder, "xuetangx", ["*"])
    assert "data.source to synthetic" in str(error.value)
    assert "dvc repro" in str(error.value)


def test_files_are_found_by_globs_without_hidden_and_dvc_files(tmp_path):
    for name in ("b.json", "a.json", ".gitignore", "a.json.dvc", "notes.txt"):
        (tmp_path / name).write_text("x")
    found = find_raw_files(tmp_path, "xuetangx", ["*.json", "a*"])
    assert [path.name for path in found] == ["a.json", "b.json"]
    with pytest.raises(UserError, match=r"no file matches data.files = \['\*.csv'\]"):
        find_raw_files(tmp_path, "xuetangx", ["*.csv"])
    (tmp_path / "empty.json").write_text("")
    with pytest.raises(UserError, match=r"empty\.json: the file is empty"):
        find_raw_files(tmp_path, "xuetangx", ["*.json"])


def test_too_many_bad_records_stop_the_run_and_are_shown():
    report = ReadReport(kept=98)
    report.add_bad(Path("/somewhere/a.json"), "event 3", "the time is none")
    report.add_bad(Path("/somewhere/a.json"), "event 4", "the time is none")
    report.check(0.02)  # 2 of 100
    with pytest.raises(UserError, match=r"2 of 100 .*\n  a.json: event 3: the time is none"):
        report.check(0.019)


def test_read_bytes_are_reported_whole(tmp_path, make_params):
    path = write(tmp_path / "a.json", LOG)
    counted = io.BytesIO()
    report = ReadReport(on_bytes=lambda count: counted.write(b"x" * count))
    list(SOURCES["xuetangx"].read_events([path], make_params().data, report))
    assert len(counted.getvalue()) == path.stat().st_size


def test_real_kdd_cup_clicks(real_data, make_params):
    path = real_data("kdd15_xuetangx_raw.json.gz")
    settings, report = make_params(data={"event_prefixes": []}).data, ReadReport()
    learners, courses = set(), set()
    for batch in SOURCES["xuetangx"].read_events([path], settings, report):
        learners.update(batch.column("learner").unique().to_pylist())
        courses.update(batch.column("course").unique().to_pylist())
    assert (report.records, report.kept, report.bad_records) == (325_099, 325_099, 0)
    assert (len(learners), len(courses)) == (10_558, 1_367)
