"""Raw files as users bring them: read alike, or refused in words that help; nobody lost unseen."""

import itertools
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from raw_spellings import (
    EVENTS,
    PACKINGS,
    RIGHT,
    account_of,
    as_csv,
    as_iso,
    as_lines,
    as_parquet,
    as_tar,
    as_zip,
    brief,
    dump,
    seconds,
    settings,
    users,
    write,
)

from mooc_maml.common.errors import UserError
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.sources.raw_files import find_raw_files, location

LEARNERS = [who for who, _, _ in EVENTS]
TIMES = [time for _, _, time in EVENTS]
CHINESE = as_csv(course=lambda n: f"课程{n}")
ALL_RIGHT: dict[str, tuple[str, object]] = {
    "plain": ("table", as_csv()),
    "mark": ("table", as_csv().encode("utf-8-sig")),
    "mark, users": ("mooccubex", as_lines(users()).encode("utf-8-sig")),
    "mark, dump": ("xuetangx", json.dumps(dump()).encode("utf-8-sig")),
    "semicolons": ("table", as_csv(separator=";")),
    "tabs": ("table", as_csv(separator="\t")),
    "pipes, quoted": ("table", as_csv(separator="|", quote='"')),
    "sep= line": ("table", "sep=;\r\n" + as_csv(separator=";", end="\r\n")),
    "sep= line of another separator": ("table", "sep=^\n" + as_csv(separator="^")),
    "UTF-16": ("table", as_csv().encode("utf-16")),
    "UTF-16, big end first, without mark": ("table", as_csv().encode("utf-16-be")),
    "UTF-16, users without mark": ("mooccubex", as_lines(users()).encode("utf-16-le")),
    "Excel's Unicode text": ("table", ("sep=\t\n" + as_csv(separator="\t")).encode("utf-16")),
    "UTF-32": ("table", CHINESE.encode("utf-32")),
    "blank lines": ("table", "\n \n" + as_csv(end="\n\n")),
    "carriage returns": ("table", as_csv(end="\r")),
    "rows of nothing at the end": ("table", as_csv() + ",,\n,,\n"),
    "blanks around names": ("table", as_csv().replace("learner,course", " learner , course")),
    "files joined to one, each with its header": (
        "table",
        (as_csv(EVENTS[:9]) + "\ufeff" + as_csv(EVENTS[9:])).encode(),
    ),
    "NaN that is not read": (
        "mooccubex",
        as_lines(user | {"age": float("nan"), "x": [float("inf")]} for user in users()),
    ),
    "an array with a learner a line": (
        "mooccubex",
        "[\n" + ",\n".join(json.dumps(user) for user in users()) + "\n]\n",
    ),
    "half of a character that is not read": (
        "mooccubex",
        as_lines(user | {"name": "\ud83c"} for user in users()),
    ),
    "a key that is not read twice": (
        "mooccubex",
        as_lines(users()).replace('"name": "x"', '"name": "x", "name": "y"'),
    ),
    "numbers as ids": (
        "mooccubex",
        as_lines(user | {"id": float(user["id"])} for user in users()),
    ),
    "a number as a course": ("xuetangx", json.dumps([[int(c), u] for c, u in dump()])),
    "NaN within a text": ("xuetangx", json.dumps([[f'[NaN, "{c}', u] for c, u in dump()])),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL_RIGHT)
def test_what_is_spelt_otherwise_is_read_alike(tmp_path, name):
    source, content = ALL_RIGHT[name]
    account, _ = account_of(tmp_path, content, source)
    assert brief(account) == RIGHT
    assert account["dropped"]["bad_records"] == 0


@pytest.mark.parametrize(
    ("packing", "source"),
    [
        *((packing, "table") for packing in PACKINGS),
        *((packing, "mooccubex") for packing in ("tar.gz", "xz", "zip", "zstd")),
        *((packing, "xuetangx") for packing in ("bzip2", "tar", "zip in gzip")),
    ],
)
def test_every_packing_is_told_by_its_content(tmp_path, packing, source):
    text = {"table": as_csv(), "mooccubex": as_lines(users()), "xuetangx": json.dumps(dump())}
    packed = PACKINGS[packing](text[source].encode())
    account, lines = account_of(tmp_path, packed, source)
    assert brief(account) == RIGHT
    assert bool(lines) == ("README" in packing)
    if packing != "plain":
        half = 700 if packing.startswith("tar") and "." not in packing[:5] else len(packed) // 2
        write(tmp_path / "raw", packed[:half])  # the end of a plain tar file is filled up
        with pytest.raises(UserError, match=r"raw/raw: .*(cut off|damaged)"):
            preprocess(tmp_path / "raw", tmp_path / "pairs", settings(source))


def test_a_packed_parquet_file(tmp_path):
    assert brief(account_of(tmp_path, PACKINGS["tar.gz"](as_parquet()))[0]) == RIGHT


PLAIN = as_csv().encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (as_zip(PLAIN, ["b.csv"]), r"zip archive that holds 2 files \(inside/raw, b.csv\).*`unzip"),
        (as_tar(PLAIN, ["b.csv"], "w:gz"), r"a tar archive that holds 2 files .*`tar -xf raw`"),
        (as_tar(PLAIN) * 2, "tar file is damaged: something follows its end"),
        (as_zip(PLAIN) * 2, "zip file is damaged: something lies before it"),
        (as_zip(PLAIN, ["xl/workbook.xml"]), "an Excel workbook; save the sheet as CSV"),
        (PACKINGS["bzip2"](PLAIN) + b"more", "bzip2 file is damaged"),
        (PACKINGS["xz"](PLAIN) + b"more" * 9, "xz file is damaged"),
        (PACKINGS["zstd"](PLAIN) + b"more", "zstd file is damaged"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7-Zip archive, which is not read; .* 7z x raw"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(99), "a RAR archive"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (bytes(range(256)) * 9, r"no kind of file that is read \(it begins with the bytes 00 01"),
        (as_csv(separator="^"), r"no column 'learner'.*found \['learner\^course\^time'\]"),
        ("learner,course,time\n", "hold no record"),
        ("\ufeff", "the file is empty; expected a line of column names"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_named_with_what_to_do(tmp_path, content, words):
    with pytest.raises(UserError, match=words) as error:
        account_of(tmp_path, content)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("source", ["mooccubex", "xuetangx"])
def test_a_parquet_file_where_json_is_expected(tmp_path, source):
    with pytest.raises(UserError, match=r"a Parquet file, which data\.source: table"):
        account_of(tmp_path, as_parquet(), source)


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "cp1252", "shift_jis"])
def test_legacy_text_is_refused_with_the_setting_and_read_with_it(tmp_path, encoding):
    word = {"cp1252": "Übung", "shift_jis": "コース"}.get(encoding, "中文")
    content = as_csv(course=lambda n: f"{word}{n}").encode(encoding)
    with pytest.raises(UserError, match=r"18 of 18 raw records(.|\n)*data\.encoding") as error:
        account_of(tmp_path, content)
    assert f"{encoding} (as {word}" in str(error.value)
    assert brief(account_of(tmp_path, content, encoding=encoding)[0]) == RIGHT


def test_a_byte_order_mark_says_more_than_the_setting(tmp_path):
    account, _ = account_of(tmp_path, CHINESE.encode("utf-8-sig"), encoding="gb18030")
    assert brief(account) == RIGHT


def test_column_names_in_a_legacy_encoding(tmp_path):
    content = as_csv().replace("course", "课程").encode("gb18030")
    with pytest.raises(UserError, match=r"no column '课程'.*gb18030 \(as 课程\)"):
        account_of(tmp_path, content, table={"item": "课程"})


STRAYS = ["_SUCCESS", "README.md", "desktop.ini", ".DS_Store", "Thumbs.db", ".raw.crc", "a.csv.crc"]


def test_files_that_are_no_data_are_left_aside_with_a_line(tmp_path):
    account, lines = account_of(tmp_path, dict.fromkeys(STRAYS, "x") | {"a.csv": as_csv()})
    assert brief(account) == RIGHT
    (line,) = lines
    assert all(name in line for name in STRAYS)
    assert "left aside" in line
    write(tmp_path / "raw", {"more/b.csv": as_csv()})
    told: list[str] = []
    find_raw_files(tmp_path / "raw", "table", ["*"], told.append)
    assert "left aside: more (folders, whose files data.files: '**/*' would read)" in told


def test_a_name_is_a_name_before_it_is_a_pattern(tmp_path):
    files = {"log[1].csv": as_csv(), "log1.csv": "other", "README.md": as_csv()}
    assert brief(account_of(tmp_path, files, files="log[1].csv")[0]) == RIGHT
    assert brief(account_of(tmp_path, files, files="README.md")[0]) == RIGHT


def test_a_link_to_nothing_is_no_file_that_was_not_there(tmp_path):
    (write(tmp_path / "raw", as_csv()) / "gone.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"gone\.csv: a link to what is not there"):
        account_of(tmp_path, as_csv())


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_utf8_can_be_told(tmp_path):
    name = os.fsdecode(b"caf\xe9.csv")
    account, _ = account_of(tmp_path, {name: as_csv() + "1,2,x\n"}, max_bad_records=0.1)
    assert account["files"] == ["caf\\xe9.csv"]
    assert account["bad_records"]["first"][0]["file"] == "caf\\xe9.csv"
    with pytest.raises(UserError, match=r"caf\\xe9\.csv: no column") as error:
        account_of(tmp_path, {name: "a,b\n"})
    assert str(error.value).encode()


def test_home_is_written_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert location("~/raw") == (tmp_path / "raw").resolve()
    with pytest.raises(UserError, match="~nobody-at-all: no such home folder"):
        location("~nobody-at-all")


# --- Lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "end", "line"),
    [
        ("", "\n", 6),
        ("", "\r\n", 6),
        ("", "\r", 6),
        ("", "\n\n", 11),
        ("\n\nsep=,\n", "\n", 9),
        ('"sep=,"\n', "\n\n", 12),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_bad_row_is_named_by_the_line_that_an_editor_shows(tmp_path, before, end, line, encoding):
    text = before + as_csv(end=end).replace("2021-03-01 11:34", "yesterday", 1)
    account, _ = account_of(tmp_path, text.encode(encoding), max_bad_records=0.1)
    assert brief(account) == RIGHT | {"pairs": 14}
    (bad,) = account["bad_records"]["first"]
    assert bad["place"] == f"line {line}, time 'yesterday:00'"


def test_lines_within_quotes_count_too(tmp_path):
    rows = as_csv(quote='"').splitlines()
    rows[1] = rows[1].replace("205", "20\n\n5")
    rows[4] = rows[4].replace("2021", "never")
    account, _ = account_of(tmp_path, "\n".join(rows), max_bad_records=0.1)
    assert account["bad_records"]["first"][0]["place"].startswith("line 7, ")


def test_lines_that_stray_quotes_join_are_counted(tmp_path):
    rows = as_csv().splitlines()
    rows[3] = rows[3].replace(",", ',"', 1)
    rows[6] = rows[6].replace(",", ',"', 1)
    account, _ = account_of(tmp_path, "\n".join(rows), max_bad_records=0.5)
    assert account["raw_events"] == 18
    assert account["bad_records"]["by_reason"] == {
        "a quote that is not closed has swallowed lines": 4
    }
    posts = ["a,b", "two\nlines", "three,\n\nlines", '"quoted"\r\nand, so, on']
    text = "learner,course,time,post\n"
    for number, row in enumerate(as_csv().splitlines()[1:]):
        text += f'{row},"{posts[number % 4].replace(chr(34), chr(34) * 2)}"\n'
    assert account_of(tmp_path, text)[0]["dropped"]["bad_records"] == 0


# --- Ids -----------------------------------------------------------------------------------------


def ids(kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        return pa.array([Decimal(n) for n in LEARNERS]).cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pa.array(LEARNERS, kind)
    texts = [str(n) for n in LEARNERS]
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
    return pa.array(texts if is_text else [text.encode() for text in texts], kind)


KINDS = [
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()),
    *(pa.binary_view(), pa.binary(3), pa.int16(), pa.int64(), pa.uint8(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 2), pa.decimal256(60, 7)),
    *(pa.decimal32(5, 0), pa.decimal64(12, 1)),
]


def test_an_id_is_one_learner_whatever_type_each_file_has(tmp_path):
    files = {}
    for number, kind in enumerate(KINDS):
        who = ids(kind)
        files[f"{number}.parquet"] = as_parquet(learner=who)
        with suppress(pa.ArrowNotImplementedError):  # of some types there are no dictionaries
            files[f"{number}d.parquet"] = as_parquet(learner=who.dictionary_encode())
    account, _ = account_of(tmp_path, files | {"a.csv": as_csv()})
    assert brief(account) == RIGHT | {"raw_events": 18 * len(account["files"])}
    assert account["dropped"]["duplicates"] == account["raw_events"] - 18


def test_no_number_is_a_bad_record_and_no_learner(tmp_path):
    who = pa.array([*LEARNERS[:15], None, float("nan"), float("inf")])
    account, _ = account_of(tmp_path, as_parquet(learner=who), max_bad_records=0.5)
    assert account["bad_records"]["by_reason"] == {"no text in column 'learner'": 3}
    assert account["learners"] == 3


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1e15, 1.5, -2.0, 2.0**70], ["1000000000000000", "1.5", "-2", str(2**70)]),
        ([Decimal(x) for x in ("1.10", "-0.00", "12.00", "0.05")], ["1.1", "0", "12", "0.05"]),
        (["007", "1.10", "1e5", "nan"], ["007", "1.10", "1e5", "nan"]),
        ([" 7", "7\u3000", "\xa07 ", "8"], ["7", "7", "7", "8"]),
    ],
)  # fmt: skip
def test_how_an_id_is_written(tmp_path, values, texts):
    from mooc_maml.sources.events import ReadReport
    from mooc_maml.sources.ids import as_text

    assert as_text(pa.array(values), "who", tmp_path, ReadReport()).to_pylist() == texts


def test_blanks_around_ids_are_cut_and_counted(tmp_path):
    text = as_csv(name=lambda n: f" {n}\t" if n == 101 else str(n))
    account, lines = account_of(tmp_path, text)
    assert brief(account) == RIGHT
    assert lines == ["raw: values of column 'learner' read without outer blanks: 6"]


def test_floats_that_pass_over_whole_numbers_are_told(tmp_path):
    who = pa.array([float(2**60 + n) for n in LEARNERS])
    _, lines = account_of(tmp_path, as_parquet(learner=who))
    assert "floats pass over whole numbers" in lines[0]


# --- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": NaN, "course_order": [], "enroll_time": []}', "no id"),
        ('{"id": 1, "id": 2, "course_order": [], "enroll_time": []}', "'id' comes twice"),
        ('{"id": 1, "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"id": "\\ud800", "course_order": [], "enroll_time": []}', "no text in the learner's id"),
        (json.dumps([1, 2]), "found an array"),
    ],
)
def test_a_bad_line_is_one_learner_lost(tmp_path, line, reason):
    text = as_lines(users()) + line
    account, _ = account_of(tmp_path, text, "mooccubex", max_bad_records=0.3)
    assert brief(account) == RIGHT | {"raw_events": 19}
    assert reason in account["bad_records"]["first"][0]["reason"]
    with pytest.raises(UserError, match="1 of 4 learners cannot be read"):
        account_of(tmp_path, text, "mooccubex", max_bad_records=0.24)


def test_odd_values_of_a_dump_cost_themselves_alone(tmp_path):
    log = json.dumps(dump())
    events = ['["x", NaN]', "[-Infinity]", f'["x", {"9" * 30}]', "[" * 3000 + "]" * 3000]
    log = log.replace("]]}", f"], {', '.join(events)}]}}", 1)
    account, _ = account_of(tmp_path, log, "xuetangx", max_bad_records=0.3)
    assert brief(account) == RIGHT | {"raw_events": 22}


# --- The limit -----------------------------------------------------------------------------------


def diligent(events: int) -> dict[str, object]:
    times = [as_iso(datetime(2021, 1, 1) + timedelta(minutes=n)) for n in range(events)]
    return {"id": "diligent", "course_order": list(range(events)), "enroll_time": times}


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "a", "course_order": [1], "enroll_time": []},
        {"id": "a", "course_order": [1, 2], "enroll_time": ["soon", "later"]},
        {"id": "\ud800", "course_order": [], "enroll_time": []},
    ],
)
def test_learners_lost_count_among_learners(tmp_path, bad):
    text = as_lines([diligent(1200), *users()[:2], bad, bad, bad, bad])
    with pytest.raises(UserError, match="4 of 7 learners cannot be read"):
        account_of(tmp_path, text, "mooccubex")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (["c", {"8": 5}], "1 of 3 learners of a course"),
        (["c", {"8": {"s": 5}}], "1 of 3 sessions of a course"),
        (["c", {"8": {"s": [["load_video", "soon"]]}}], "1 of 3 sessions of a course"),
        (["c", {"8": {"s": ["load_video"]}}], "1 of 3 sessions of a course"),
        (["c", 5], "1 of 3 course entries"),
        ([5], "1 of 3 course entries"),
    ],
)
def test_what_holds_events_counts_among_its_like(tmp_path, entry, words):
    events = [
        ["load_video", as_iso(datetime(2021, 1, 1) + timedelta(minutes=n))] for n in range(900)
    ]
    log = [["a", {"7": {"s": events}}], ["b", {"7": {"s": events}}], entry]
    with pytest.raises(UserError, match=f"{words} cannot be read"):
        account_of(tmp_path, json.dumps(log), "xuetangx")


# --- Times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("time_format", ["iso", "epoch"])
@pytest.mark.parametrize("unit", ["seconds", "milliseconds", "microseconds", "nanoseconds"])
@pytest.mark.parametrize("kind", ["csv", "int64", "float64", "decimal", "dictionary"])
def test_moments_since_1970_are_told_apart_by_their_size(tmp_path, time_format, unit, kind):
    scale = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
    numbers = [seconds(time) * scale[unit] for time in TIMES]
    columns = {
        "int64": pa.array(numbers),
        "float64": pa.array([float(n) for n in numbers]),
        "decimal": pa.array([Decimal(n) for n in numbers]).cast(pa.decimal128(30, 3)),
        "dictionary": pa.array([str(n) for n in numbers]).dictionary_encode(),
    }
    csv = as_csv(spell=lambda time: str(seconds(time) * scale[unit]))
    content = csv if kind == "csv" else as_parquet(time=columns[kind])
    account, lines = account_of(tmp_path, content, table={"time_format": time_format})
    assert brief(account) == RIGHT
    as_set = time_format == "epoch" and unit == "seconds"
    told = [f"raw: times of column 'time' read as {unit} since 1970: 18"]
    assert lines == ([] if as_set else told)


def test_times_with_a_zone_beside_others_are_told(tmp_path):
    """Half of the times are spelt in Peking's zone; they are the same moments."""
    peking, turn = timezone(timedelta(hours=8)), itertools.cycle([True, False])

    def spell(time: datetime) -> str:
        moment = time.replace(tzinfo=UTC)
        return moment.astimezone(peking).isoformat() if next(turn) else time.isoformat(" ")

    account, lines = account_of(tmp_path, as_csv(spell=spell))
    assert brief(account) == RIGHT
    told = "UTC by their zone; those without a zone count as UTC, too: 9"
    assert lines == [f"raw: times of column 'time' read as {told}"]


@pytest.mark.parametrize("time_format", ["iso", "epoch", "order", "%d.%m.%Y"])
def test_a_timestamp_is_a_moment_under_every_setting(tmp_path, time_format):
    account, lines = account_of(tmp_path, as_parquet(), table={"time_format": time_format})
    assert brief(account) == RIGHT
    assert bool(lines) == (time_format != "iso")


@pytest.mark.parametrize(
    ("pattern", "reads"),
    [
        ("%d.%m.%Y %H:%M", ["'%d.%m.%Y %H:%M'", "'%m.%d.%Y %H:%M'"]),
        ("%m/%d/%Y %I:%M %p", ["'%d/%m/%Y %I:%M %p'", "'%m/%d/%Y %I:%M %p'"]),
        ("%d-%b-%Y %H:%M:%S", ["'%d-%b-%Y %H:%M:%S'"]),
        ("%d/%b/%Y:%H:%M:%S +0000", ["'%d/%b/%Y:%H:%M:%S %z'"]),
        ("%b %d, %Y %I:%M %p", ["'%b %d, %Y %I:%M %p'"]),
        ("%Y年%m月%d日 %H:%M:%S", ["'%Y年%m月%d日 %H:%M:%S'"]),
        ("%Y%m%d%H%M", ["'%Y%m%d%H%M'"]),
        ("%Y-%m-%d %I:%M:%S %p", ["'%Y-%m-%d %I:%M:%S %p'"]),
    ],
)
def test_a_day_and_a_month_are_never_guessed_but_read_by_a_pattern(tmp_path, pattern, reads):
    text = as_csv(spell=lambda time: time.strftime(pattern), separator=";")
    with pytest.raises(UserError, match="looks like a date") as error:
        account_of(tmp_path, text)
    assert f"set data.table.time_format: {' or '.join(reads)}" in str(error.value)
    account, _ = account_of(tmp_path, text, table={"time_format": pattern})
    assert brief(account) == RIGHT


@pytest.mark.parametrize(
    ("spell", "words"),
    [
        (lambda t: f"{t:%H:%M:%S}", "a time of day without its date"),
        (lambda t: f"{(t - datetime(1899, 12, 30)) / timedelta(days=1)}", "a day number of a"),
        (lambda t: f"{as_iso(t)} CST", "a date in the zone 'CST'"),
        (lambda t: f"{seconds(t):,}".replace(",", "."), "no iso time in column 'time'"),
    ],
)  # fmt: skip
def test_what_no_setting_reads_is_named(tmp_path, spell, words):
    with pytest.raises(UserError, match=words):
        account_of(tmp_path, as_csv(spell=spell))


def test_the_other_setting_is_named_where_it_reads_the_value(tmp_path):
    with pytest.raises(UserError, match=r"time '2021-03-01 11:30:00'.*time_format: iso"):
        account_of(tmp_path, as_csv(), table={"time_format": "order"})
    with pytest.raises(UserError, match=r"looks like seconds since 1970.*time_format: epoch"):
        account_of(
            tmp_path, as_csv(spell=lambda t: str(seconds(t))), table={"time_format": "%d.%m.%Y"}
        )


def test_years_without_courses_are_told(tmp_path):
    text = as_csv(spell=lambda t: str((t - datetime(1899, 12, 30)).days))
    _, lines = account_of(
        tmp_path, text, table={"time_format": "epoch"}, sessions={"min_events": 1}
    )
    assert any("before 1990 or after 2100" in line and line.endswith(": 18") for line in lines)
