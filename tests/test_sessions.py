import csv
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import sha256
from mooc_maml.preprocess.session_tables import session_tables
from mooc_maml.preprocess.sessions import preprocess

MINUTE = 60


def run(tmp_path, make_params, rows, sessions=None, threads=1, **data):
    """Run rows of (learner, course, seconds[, event, session]); give account and tables."""
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    with (raw / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["learner", "course", "time", "event", "session"])
        writer.writerows([*row, "", ""][:5] for row in rows)
    table = {"time_format": "epoch", "event": "event", "session": "session"}
    params = make_params(
        data={"source": "table", "table": table, "event_prefixes": []} | data,
        sessions=sessions or {},
        hardware={"threads": threads},
    )
    account = preprocess(raw, tmp_path / "pairs", params)
    names = ("courses", "learners", "sessions", "steps")
    tables = {n: pq.read_table(tmp_path / "pairs" / f"{n}.parquet") for n in names}
    return account, {name: table.to_pylist() for name, table in tables.items()}


def sequences(tables):
    """Each session as (learner, its courses), ids as text."""
    course = {row["course"]: row["id"] for row in tables["courses"]}
    learner = {row["learner"]: row["id"] for row in tables["learners"]}
    found: dict[int, tuple[str, str]] = {}
    for row in tables["steps"]:
        who, so_far = found.get(row["session"], (learner[row["learner"]], ""))
        found[row["session"]] = (who, so_far + course[row["course"]])
    return [found[session] for session in sorted(found)]


def test_one_session_worked_by_hand(tmp_path, make_params):
    rows = [("u", "B", 60), ("u", "A", 10), ("u", "A", 20), ("u", "B", 70), ("u", "A", 80)]
    account, tables = run(tmp_path, make_params, rows)
    assert tables["courses"] == [
        {"course": 1, "id": "A", "steps": 2},
        {"course": 2, "id": "B", "steps": 1},
    ]
    assert tables["learners"] == [{"learner": 0, "id": "u"}]
    names = ("learner", "session", "position", "course", "time", "is_pair")
    assert [tuple(row[name] for name in names) for row in tables["steps"]] == [
        (0, 0, 0, 1, 10_000_000, False),
        (0, 0, 1, 2, 60_000_000, True),
        (0, 0, 2, 1, 80_000_000, True),
    ]
    assert account["consecutive_repeats"] == 2
    assert account["pairs_all"] == account["pairs"] == 2


def test_what_a_session_had_when_each_course_was_opened(tmp_path, make_params):
    events = [("A", 0, "load_video"), ("A", 10, "video_a"), ("A", 10, "video_b")]
    events += [("B", 20, "video_a"), ("B", 25, "seek"), ("A", 30, "load_video")]
    events += [("C", 30, "pause"), ("C", 50, "problem"), ("C", 50, "problem")]  # the last one twice
    rows = [("u", *event) for event in events]
    prefixes = ["load", "video", "seek", "pause", "problem", "speed"]
    _, tables = run(tmp_path, make_params, rows, event_prefixes=prefixes)
    courses = [row["id"] for row in tables["courses"]]
    found = [(courses[r["course"] - 1], r["events"], r["kinds"]) for r in tables["steps"]]
    # At second 30 A comes before C, and the kinds of that second are there, the pause too.
    assert found == [("A", 1, 1), ("B", 4, 2), ("A", 6, 4), ("C", 7, 4)]
    assert tables["sessions"] == [{"events": 8, "duration": 50_000_000}]
    _, tables = run(
        tmp_path, make_params, rows, {"drop_consecutive_repeats": False}, event_prefixes=prefixes
    )
    assert [row["events"] for row in tables["steps"]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [row["kinds"] for row in tables["steps"]] == [1, 2, 2, 2, 3, 4, 4, 5]


def test_without_kinds_or_a_clock_a_session_has_none(tmp_path, make_params):
    rows = [("u", "A", 0, "x"), ("u", "B", 1, "x"), ("v", "A", 0, "x"), ("v", "C", 9, "x")]
    _, tables = run(tmp_path, make_params, rows)
    assert {row["kinds"] for row in tables["steps"]} == {0}  # event_prefixes: []
    assert [row["duration"] for row in tables["sessions"]] == [1_000_000, 9_000_000]
    order = {"time_format": "order", "event": None, "session": None}
    _, tables = run(
        tmp_path, make_params, rows, {"boundary": "platform"}, table=order, event_prefixes=["x"]
    )
    assert [(r["events"], r["kinds"]) for r in tables["steps"]] == [(1, 0), (2, 0)] * 2
    assert tables["sessions"] == [{"events": 2, "duration": 0}] * 2


def test_a_kind_is_the_first_prefix_that_an_event_begins_with(tmp_path, make_params):
    rows = [("u", "A", 0, "video_a"), ("u", "A", 1, "video_b"), ("u", "B", 2, "other")]
    counts = {}
    for prefixes in (["video", "video_b", ""], ["video_b", "video", ""], ["o'", "", "video"]):
        _, tables = run(tmp_path, make_params, rows, event_prefixes=prefixes)
        counts[prefixes[0]] = [row["kinds"] for row in tables["steps"]]
    assert counts == {"video": [1, 2], "video_b": [1, 3], "o'": [1, 1]}


def test_a_pause_is_longer_than_the_gap(tmp_path, make_params):
    times = [0, 30 * MINUTE, 60 * MINUTE + 0.000001, 60 * MINUTE + 5]
    rows = [("u", course, time) for course, time in zip("ABCD", times, strict=True)]
    _, tables = run(tmp_path, make_params, rows)
    assert sequences(tables) == [("u", "AB"), ("u", "CD")]  # exactly 30 minutes: one session
    _, tables = run(tmp_path, make_params, rows, {"gap_seconds": 1801})
    assert sequences(tables) == [("u", "ABCD")]


def test_a_learner_is_one_over_all_courses_and_in_any_order(tmp_path, make_params):
    rows = [("u", "C", 30), ("v", "A", 5), ("u", "A", 10), ("v", "B", 6), ("u", "B", 20)]
    _, tables = run(tmp_path, make_params, rows)
    assert sequences(tables) == [("u", "ABC"), ("v", "AB")]


def test_short_sessions_go_with_their_learners_and_courses(tmp_path, make_params):
    rows = [("one", "X", 0), ("u", "A", 0), ("u", "B", 1), ("u", "Y", 9999)]
    account, tables = run(tmp_path, make_params, rows)
    assert sequences(tables) == [("u", "AB")]
    assert [row["id"] for row in tables["courses"]] == ["A", "B"]
    assert account["dropped"]["short_sessions"] == 2
    account, tables = run(tmp_path, make_params, rows, {"min_events": 1})
    assert sequences(tables) == [("one", "X"), ("u", "AB"), ("u", "Y")]


def test_a_session_of_one_repeated_course_stays_without_a_pair(tmp_path, make_params):
    account, tables = run(tmp_path, make_params, [("u", "A", 0), ("u", "A", 1)])
    assert sequences(tables) == [("u", "A")]
    assert (account["sessions"], account["pairs_all"]) == (1, 0)


def test_repeats_may_be_kept(tmp_path, make_params):
    rows = [("u", course, time) for time, course in enumerate("AABA")]
    _, tables = run(tmp_path, make_params, rows, {"drop_consecutive_repeats": False})
    assert sequences(tables) == [("u", "AABA")]
    _, tables = run(tmp_path, make_params, rows)
    assert sequences(tables) == [("u", "ABA")]


def test_exact_duplicates_are_dropped_first(tmp_path, make_params):
    rows = [("u", "A", 0, "video")] * 3 + [("u", "A", 0, "load")] + [("v", "A", 0), ("v", "A", 0)]
    account, tables = run(tmp_path, make_params, rows)
    assert account["dropped"]["duplicates"] == 3
    assert sequences(tables) == [("u", "A")]  # two events of u; v's twice same event is one


def test_equal_seconds_are_ordered_by_course_and_give_no_pair(tmp_path, make_params):
    rows = [("u", "C", 5), ("u", "B", 5), ("u", "A", 0), ("u", "D", 6)]
    account, tables = run(tmp_path, make_params, rows)
    assert sequences(tables) == [("u", "ABCD")]
    assert [row["is_pair"] for row in tables["steps"]] == [False, True, False, True]
    assert (account["pairs_all"], account["pairs"], account["pairs_not_strictly_later"]) == (
        3,
        2,
        1,
    )


def test_platform_sessions_may_interleave_and_are_ordered_by_their_start(tmp_path, make_params):
    rows = [
        ("u", "A", 0, "", "z"),
        ("u", "B", 10, "", "a"),
        ("u", "C", 20, "", "z"),
        ("u", "D", 9999, "", "a"),
        ("v", "E", 3, "", "a"),
        ("v", "F", 4, "", "a"),
    ]
    _, tables = run(tmp_path, make_params, rows, {"boundary": "platform"})
    assert sequences(tables) == [("u", "AC"), ("u", "BD"), ("v", "EF")]


def test_odd_ids_survive_and_are_ordered_by_their_bytes(tmp_path, make_params):
    odd = sorted(["a,b", "é\nx", "Z", "清华🎓", '"', "10", "9"], key=str.encode)
    rows = [(learner, learner, time) for time in (1, 2) for learner in odd]
    _, tables = run(tmp_path, make_params, rows)
    assert [row["id"] for row in tables["learners"]] == odd
    assert [row["id"] for row in tables["courses"]] == odd


def big_log() -> list[tuple[str, str, int]]:
    """30,000 events of 300 learners with many ties, in no order."""
    return [(f"u{i * 7919 % 300}", f"c{i * i % 31}", i * 104_729 % 40_000) for i in range(30_000)]


def test_the_account_adds_up(tmp_path, make_params):
    rows = [(*row, ("video", "other")[i % 5 == 0]) for i, row in enumerate(big_log())]
    rows += [*rows[:100], ("u1", "c1", "never", "video"), ("lone", "c1", 0, "video")]
    account, tables = run(tmp_path, make_params, rows, event_prefixes=["video"])
    dropped = account["dropped"]
    assert all(count > 0 for count in dropped.values())
    assert account["raw_events"] == len(rows)
    assert account["raw_events"] - sum(dropped.values()) == account["events_in_sessions"]
    assert account["events_in_sessions"] - account["consecutive_repeats"] == account["steps"]
    assert account["steps"] == len(tables["steps"]) == sum(r["steps"] for r in tables["courses"])
    assert account["steps"] - account["sessions"] == account["pairs_all"]
    assert account["pairs_all"] - account["pairs_not_strictly_later"] == account["pairs"]
    assert account["pairs"] == sum(row["is_pair"] for row in tables["steps"])


def test_sequences_agree_with_a_plain_loop(tmp_path, make_params):
    log = big_log()[::4]
    _, tables = run(tmp_path, make_params, log)
    expected = []
    for learner in sorted({row[0] for row in log}):
        events = sorted({(t, c) for u, c, t in log if u == learner})
        session: list[tuple[int, str]] = []
        for event in [*events, (10**9, "")]:
            if session and event[0] - session[-1][0] > 1800:
                kept = [c for i, (_, c) in enumerate(session) if i == 0 or session[i - 1][1] != c]
                expected += [(learner, "".join(kept))] if len(session) >= 2 else []
                session = []
            session.append(event)
    assert sequences(tables) == expected


def test_the_files_are_the_same_bytes_for_any_order_of_rows_and_threads(
    tmp_path, make_params, monkeypatch
):
    monkeypatch.setattr("mooc_maml.preprocess.sessions._ROW_GROUP", 5_000)

    def digests(rows, threads) -> list[str]:
        run(tmp_path, make_params, rows, threads=threads)
        return [sha256(path) for path in sorted((tmp_path / "pairs").iterdir())]

    first = digests(big_log(), threads=1)
    assert digests(big_log()[::-1], threads=2) == first
    steps = pq.ParquetFile(tmp_path / "pairs" / "steps.parquet")
    assert [steps.metadata.row_group(i).num_rows for i in range(2)] == [5_000, 5_000]


def test_nothing_is_left_beside_the_output(tmp_path, make_params):
    run(tmp_path, make_params, big_log())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs", "raw"]


def test_a_failed_run_leaves_the_last_good_output_whole(tmp_path, make_params):
    run(tmp_path, make_params, [("u", "A", 0), ("u", "B", 1)])
    before = sha256(tmp_path / "pairs" / "steps.parquet")
    with pytest.raises(UserError, match=r"2 of 2 raw records cannot be read"):
        run(tmp_path, make_params, [("u", "A", "x"), ("u", "B", "y")])
    assert sha256(tmp_path / "pairs" / "steps.parquet") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs", "raw"]


def test_nothing_left_is_said_with_the_setting_to_change(tmp_path, make_params):
    rows = [("u", "A", 0, "click"), ("u", "B", 9999, "click")]
    with pytest.raises(UserError, match=r"no event is left of 2 raw ones.*data.event_prefixes"):
        run(tmp_path, make_params, rows, event_prefixes=["video"])
    with pytest.raises(UserError, match=r"no session has sessions.min_events = 2"):
        run(tmp_path, make_params, rows)


REAL_COUNTS = (
    "rows_after_duplicates",
    "sessions",
    "events_in_sessions",
    "learners",
    "items",
    "pairs_all",
    "pairs",
)
MARS = {"learner": "user_id", "item": "item_id", "time": "created_at"}
MOOCCUBEX = {
    "learner": "user_id",
    "item": "course_id",
    "time": "position",
    "time_format": "order",
}


@pytest.mark.parametrize(
    ("name", "table", "boundary", "counts"),
    [
        (
            "mars_explicit_ratings_en.csv",
            MARS,
            "gap",
            (3_655, 561, 2_894, 378, 745, 2_333, 2_333),
        ),
        (
            "mars_implicit_ratings_en.csv",
            MARS,
            "gap",
            (21_553, 3_639, 18_412, 1_961, 947, 11_179, 11_151),
        ),
        (
            "mooccubex_enrolments.csv.gz",
            MOOCCUBEX,
            "platform",
            # no course twice for a learner: every enrolment but the first gives a pair
            (941_525, 78_177, 941_525, 78_177, 3_321, 863_348, 863_348),
        ),
    ],
)
def test_counts_of_real_tables(tmp_path, make_params, real_data, name, table, boundary, counts):
    path: Path = real_data(name)
    params = make_params(
        data={"source": "table", "files": name, "table": table}, sessions={"boundary": boundary}
    )
    account = preprocess(path.parent, tmp_path / "pairs", params)
    assert tuple(account[key] for key in REAL_COUNTS) == counts
    assert account["dropped"]["bad_records"] == 0


def test_real_kdd_cup_clicks_add_up(tmp_path, make_params, real_data):
    path: Path = real_data("kdd15_xuetangx_raw.json.gz")
    prefixes = ["video", "problem", "access"]
    params = make_params(
        data={"source": "xuetangx", "files": path.name, "event_prefixes": prefixes}
    )
    account = preprocess(path.parent, tmp_path / "pairs", params)
    assert account["raw_events"] == 325_099
    assert 325_099 - sum(account["dropped"].values()) == account["events_in_sessions"] == 196_231
    assert (account["sessions"], account["pairs"]) == (16_827, 111_811)


def test_events_that_tie_are_in_one_session_whichever_of_them_is_sorted_first(make_params):
    # Two events of 7,000 s and one of 100 s, as LAG may mark them: the second sort may put the one
    # that begins a session behind the one that ties with it.
    cut = session_tables(make_params().sessions, 0, True)["cut_events"]
    marking = cut[cut.index("(SELECT") : cut.index(" AS marked")]
    rows = "(1, 1, 100000000, 0, 1), (1, 2, 7000000000, 0, 0), (1, 2, 7000000000, 0, 1)"
    marked = f"(SELECT * FROM (VALUES {rows}) AS r(learner_key, course_key, time_us, kind, begins))"
    found = duckdb.sql(f"SELECT time_us, session_key FROM ({cut.replace(marking, marked)}) AS x")
    assert sorted(found.fetchall()) == [(100000000, 1), (7000000000, 2), (7000000000, 2)]
