"""What somebody found who spent an hour on losing a learner, or an event, without a word."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_spellings import (
    RIGHT,
    account_of,
    as_csv,
    as_lines,
    as_parquet,
    brief,
    dump,
    users,
)

from mooc_maml.common.errors import UserError
from mooc_maml.sources.events import ReadReport
from mooc_maml.sources.raw_files import find_raw_files
from mooc_maml.sources.time_words import looks_like

HUNDRED = [{"id": f"U{n}", "course_order": [1], "enroll_time": ["2021-03-01"]} for n in range(100)]


def ids_of(folder: Path) -> list[str]:
    ids: list[str] = pq.read_table(folder / "pairs" / "learners.parquet")["id"].to_pylist()
    return ids


# --- Learners that were one bad record together --------------------------------------------------


@pytest.mark.parametrize("between", ["\r", "", ", ", "\x1e"])
@pytest.mark.parametrize("around", ["{}", "[{}]"])
def test_learners_of_one_line_are_learners_each(tmp_path, between, around):
    line = around.replace("{}", between.join(json.dumps(user) for user in users()))
    account, _ = account_of(tmp_path, {"a": as_lines(HUNDRED), "b": line}, "mooccubex")
    assert (account["raw_events"], account["dropped"]["bad_records"]) == (118, 0)
    assert account["pairs"] == 15


def test_a_line_that_cannot_be_read_costs_the_learners_it_names(tmp_path):
    by_id = json.dumps({user["id"]: user for user in users()})
    with pytest.raises(UserError, match="3 of 103 learners cannot be read"):
        account_of(tmp_path, {"a": as_lines(HUNDRED), "b": by_id}, "mooccubex")
    torn = "".join(json.dumps(user) for user in users()).replace('"enroll_time"', "", 2)
    with pytest.raises(UserError, match="3 of 103 learners cannot be read"):
        account_of(tmp_path, {"a": as_lines(HUNDRED), "b": torn}, "mooccubex")


def test_an_enrolment_of_one_of_several_learners_of_a_line_is_named_with_the_learner(tmp_path):
    made = users()
    made[1]["enroll_time"][2] = "soon"
    account, _ = account_of(tmp_path, json.dumps(made), "mooccubex", max_bad_records=0.1)
    place = account["bad_records"]["first"][0]["place"]
    assert place == "line 1, learner 101, enrolment 3, time 'soon'"


def test_a_key_that_is_escaped_is_the_same_key(tmp_path):
    twice = '{"id": "a", "\\u0069d": "b", "course_order": [1], "enroll_time": ["2021-03-01"]}'
    with pytest.raises(UserError, match="'id' comes twice"):
        account_of(tmp_path, as_lines(HUNDRED[:9]) + twice, "mooccubex")


def test_who_has_no_events_is_told(tmp_path):
    nobody = {"id": "idle", "course_order": [], "enroll_time": []}
    _, lines = account_of(tmp_path / "a", as_lines([*users(), nobody]), "mooccubex")
    assert lines == ["raw: learners without an enrolment left out: 1"]
    log = [*dump(), ["c", {}], ["c", {"idle": {}}], ["c", {"idle": {"s": []}}]]
    _, lines = account_of(tmp_path / "b", json.dumps(log), "xuetangx")
    units = ("course entries", "learners of a course", "sessions of a course")
    assert lines == [f"raw: {unit} without anything in them: 1" for unit in units]


@pytest.mark.parametrize(
    "entry",
    [
        [None, {f"x{n}": {"s": [["load_video", "2021-03-01"]]} for n in range(5)}],
        ["", {f"x{n}": {"s": [["load_video", "2021-03-01"]]} for n in range(5)}],
        {f"x{n}": {"s": [["load_video", "2021-03-01"]]} for n in range(5)},  # [course, {...}] flat
    ],
)
def test_the_learners_of_a_course_that_is_lost_are_lost_too(tmp_path, entry):
    log = [[f"c{n}", {"7": {"s": [["load_video", "2021-03-01"]]}}] for n in range(20)]
    with pytest.raises(UserError, match=r"5 of 25 learners of a course(.|\n)*5 learners are lost"):
        account_of(tmp_path, json.dumps([*log, entry]), "xuetangx", max_bad_records=0.1)


def test_a_key_that_is_no_id_is_not_placed_at_its_neighbour(tmp_path):
    log = [["c", {"7": {"s": [["load_video", "2021-03-01"]] * 2}, "": {}, "8": {}}]]
    account, _ = account_of(
        tmp_path,
        json.dumps(log),
        "xuetangx",
        max_bad_records=0.5,
        sessions={"min_events": 1},
    )
    assert account["bad_records"]["first"][0]["place"] == "course 'c', key 2"


# --- Ids that became two -------------------------------------------------------------------------


@pytest.mark.parametrize("blank", ["\ufeff", "\u200b", "\u2060", "\0", " \u200b\0 "])
def test_blanks_that_nobody_sees_make_no_second_learner(tmp_path, blank):
    rows = as_csv().splitlines()
    text = "\n".join([*rows[:9], blank + rows[9], *rows[10:]])  # as `cat a.csv b.csv` leaves a mark
    account, lines = account_of(tmp_path, text)
    assert brief(account) == RIGHT
    assert lines == ["raw: values of column 'learner' read without outer blanks: 1"]


def test_bytes_filled_up_with_zeros_are_the_text_before_them(tmp_path):
    who = pa.array([str(100 + n // 6).encode() + bytes(5) for n in range(18)], pa.binary(8))
    account, _ = account_of(tmp_path, {"a": as_parquet(learner=who), "b": as_csv()})
    assert brief(account) == RIGHT | {"raw_events": 36}


def test_quotes_behind_blanks_are_quotes(tmp_path):
    text = as_csv(quote='"').replace(",", ", ") + '100, "say ""a""", "2021-03-09 10:00:00"\n'
    account, lines = account_of(tmp_path, text, sessions={"min_events": 1})
    assert account["dropped"]["bad_records"] == 0
    assert ids_of(tmp_path) == ["100", "101", "102"]
    courses = pq.read_table(tmp_path / "pairs" / "courses.parquet")["id"].to_pylist()
    assert courses[-1] == 'say "a"'
    assert "raw: values of column 'course' read without the quotes behind a blank: 19" in lines


def test_ids_that_may_be_others_are_told(tmp_path):
    text = as_csv(name=lambda n: f"{n}.0" if n == 101 else "<NA>" if n == 102 else str(n))
    _, lines = account_of(tmp_path, text)
    assert "raw: values of column 'learner' are whole numbers with a fraction (100.0)" in lines[0]
    assert lines[0].endswith(": 6")
    assert "a word for nothing" in lines[1]


def test_utf8_under_a_setting_of_another_encoding_is_told(tmp_path):
    text = as_csv(course=lambda n: f"Café {n}")
    _, lines = account_of(
        tmp_path, {"a": text.encode("cp1252"), "b": text.encode()}, encoding="cp1252"
    )
    assert [line.split(",")[0] for line in lines] == ["b: file read as data.encoding = cp1252"]


def test_rows_without_a_session_are_told(tmp_path):
    rows = as_csv().splitlines()
    text = "\n".join(
        [f"{rows[0]},visit", *(f"{row},{'v' * (n > 3)}" for n, row in enumerate(rows[1:]))]
    )
    _, lines = account_of(
        tmp_path, text, table={"session": "visit"}, sessions={"boundary": "platform"}
    )
    assert lines == [
        "raw: rows without a session in column 'visit': one session of each learner: 4"
    ]


# --- Rows that others swallowed ------------------------------------------------------------------


def rows_with_posts() -> list[str]:
    head, *rows = as_csv().splitlines()
    return [f"{head},post", *(f"{row},x" for row in rows)]


@pytest.mark.parametrize("opened", ['"a post', '"a post\nof\nmany\nshort\nlines'])
def test_rows_that_a_post_swallows_are_counted_however_long_it_is(tmp_path, opened):
    rows = rows_with_posts()
    rows[3] = rows[3].removesuffix("x") + opened
    rows[6] = rows[6].removesuffix("x") + '"y"'
    account, _ = account_of(tmp_path, "\n".join(rows), max_bad_records=0.5)
    assert account["raw_events"] == 18
    assert account["bad_records"]["by_reason"] == {
        "a quote that is not closed has swallowed lines": 3
    }


def test_an_id_of_swallowed_rows_is_no_learner(tmp_path):
    rows = as_csv().splitlines()
    rows[8], rows[9] = f'"{rows[8]}', f'"{rows[9]}'
    account, _ = account_of(tmp_path, "\n".join(rows), max_bad_records=0.5)
    assert (account["raw_events"], account["dropped"]["bad_records"]) == (18, 2)
    assert ids_of(tmp_path) == ["100", "101", "102"]


@pytest.mark.parametrize("first", [True, False])
def test_posts_of_several_lines_lose_nothing(tmp_path, first):
    post = '"Dear all,\nfirst, second, third, fourth\n2021-03-01 11:30:00, a, b, c"'
    text = ""
    for row in as_csv().splitlines():
        value = "post" if row.startswith("learner") else post
        text += f"{value},{row}\n" if first else f"{row},{value}\n"
    account, _ = account_of(tmp_path, text)
    assert brief(account) == RIGHT
    assert account["dropped"]["bad_records"] == 0


# --- Files ---------------------------------------------------------------------------------------


def test_a_file_that_is_named_and_is_not_there_stops(tmp_path):
    files = {"a.csv": as_csv()}
    with pytest.raises(UserError, match=r"no file 'b.csv' \(data.files = \['a.csv', 'b.csv'\]\)"):
        account_of(tmp_path, files, files=["a.csv", "b.csv"])
    _, lines = account_of(tmp_path, files, files=["a.csv", "b*.csv"])
    assert lines == ["data.files: 'b*.csv' matches no file"]


def test_a_link_to_a_folder_is_told_with_what_reads_it(tmp_path):
    raw, lines = tmp_path / "raw", list[str]()
    raw.mkdir()
    (raw / "a.csv").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.csv").write_text("x")
    (raw / "link").symlink_to(tmp_path / "other")
    (raw / "empty").mkdir()
    assert len(find_raw_files(raw, "table", ["**/*"], lines.append)) == 1
    assert len(lines) == 1
    assert "data.files: ['*', 'link/*'] would read" in lines[0]
    assert len(find_raw_files(raw, "table", ["*", "link/*"])) == 2


# --- The limit, and words ------------------------------------------------------------------------


def test_a_share_at_the_limit_goes_on_and_one_more_stops():
    for percent in range(1, 100):
        report = ReadReport(kept=100 - percent)
        report.add_bad(Path("a"), "line 1", "reason", percent)
        report.check(percent / 100)
        report.add_bad(Path("a"), "line 2", "reason", 2)
        with pytest.raises(UserError, match="cannot be read"):
            report.check(percent / 100)


@pytest.mark.parametrize(
    ("text", "time_format", "words"),
    [
        ("2021-02-29", "iso", "there is no such day"),
        ("2021-03-01 11:30:60", "iso", "no such time of day"),
        ("18446744073709551615", "epoch", "too large for any moment"),
        ("1e+300", "order", "subtract the same number"),
        ("\uff11", "order", ""),
    ],
)
def test_a_time_that_no_setting_reads_is_given_no_setting(text, time_format, words):
    found = looks_like(text, time_format)
    assert words in found
    assert "data.table.time_format" not in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize("number", ["0.98765432109876543210", f"0.{'1' * 30}", "1e-5", "-0.0"])
def test_a_long_fraction_is_a_number(tmp_path, number):
    log = f'[[{number}, {{"7": {{"s": [["load_video", "2021-03-01"]]}}}}]]'
    account, _ = account_of(tmp_path, log, "xuetangx", sessions={"min_events": 1})
    assert (account["raw_events"], account["dropped"]["bad_records"]) == (1, 0)
