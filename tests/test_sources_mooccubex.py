import gzip
import json
from datetime import datetime

import pyarrow as pa
import pytest

from mooc_maml.common.errors import UserError
from mooc_maml.sources import SOURCES, check_boundary
from mooc_maml.sources.events import EVENT_SCHEMA, ReadReport

USERS = [
    {
        "id": "U_24",
        "name": "Zoë",
        "course_order": [682129, "C_7"],
        "enroll_time": ["2019-10-12 10:31:55", "2019-10-13 00:00:00"],
    },
    {"id": 25, "course_order": [], "enroll_time": []},
]


def read(make_params, path):
    report = ReadReport()
    batches = SOURCES["mooccubex"].read_events([path], make_params().data, report)
    return pa.Table.from_batches(list(batches), EVENT_SCHEMA).to_pylist(), report


@pytest.mark.parametrize("packed", [False, True])
def test_parallel_lists_become_events_with_ids_as_text(tmp_path, make_params, packed):
    path = tmp_path / "user.json"
    text = "\n".join(json.dumps(user) for user in USERS).encode() + b"\n\n"
    path.write_bytes(gzip.compress(text) if packed else text)
    rows, report = read(make_params, path)
    assert [(r["learner"], r["course"], r["time"], r["event"], r["session"]) for r in rows] == [
        ("U_24", "682129", datetime(2019, 10, 12, 10, 31, 55), None, "history"),
        ("U_24", "C_7", datetime(2019, 10, 13), None, "history"),
    ]
    assert (report.records, report.kept, report.bad_records) == (2, 2, 0)


def user(**changes: object) -> str:
    good = {"id": "U_1", "course_order": [1, 2], "enroll_time": ["2019-10-12 10:31:55"] * 2}
    return json.dumps(good | changes)


@pytest.mark.parametrize(
    ("line", "kept", "place", "reason"),
    [
        (user(enroll_time=["2019-10-12 10:31:55"]), 0, "line 2", "not of one length"),
        (user(id=None), 0, "line 2", "no id"),
        (user(id=""), 0, "line 2", "no id"),
        (user(id=True), 0, "line 2", "no id"),
        (user(course_order=None), 0, "line 2", "two lists"),
        (user(course_order={"1": 2}), 0, "line 2", "two lists"),
        (user(course_order=[None, 2]), 1, "line 2, enrolment 1", "no course id"),
        (user(enroll_time=["2019-10-12 10:31:55", 5]), 1, "line 2, enrolment 2", "time is none"),
        (user(enroll_time=["soon", "2019-10-12"]), 1, "line 2, enrolment 1", "time is none"),
        (user()[:-5], 0, "line 2", "no JSON"),
        ("[1, 2]", 0, "line 2", "expected an object"),
    ],
)
def test_an_unreadable_record_is_counted_with_its_line(
    tmp_path, make_params, line, kept, place, reason
):
    path = tmp_path / "user.json"
    path.write_text("\n".join([user(), line, user()]), encoding="utf-8")
    rows, report = read(make_params, path)
    assert (len(rows), report.kept, report.bad_records) == (4 + kept, 4 + kept, 1)
    (example,) = report.examples
    assert example["file"] == "user.json"
    assert example["place"].split(", time")[0] == place
    assert reason in example["reason"]


def test_pauses_between_enrolments_are_no_sessions(make_params):
    params = make_params(data={"source": "mooccubex"})
    with pytest.raises(UserError, match=r"found 'gap'.*set sessions\.boundary to platform"):
        check_boundary(params.data, params.sessions)
    platform = make_params(data={"source": "mooccubex"}, sessions={"boundary": "platform"})
    check_boundary(platform.data, platform.sessions)
