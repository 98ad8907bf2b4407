"""The application: answers as offline, bounds hold, errors say what is wrong and nothing more."""

import re
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from prometheus_client import values
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from service_helpers import ask, ask_many, error_of, question
from small_bundle import COURSES, course, title, write_bundle
from starlette.types import ASGIApp

from mooc_maml.common.errors import UserError
from mooc_maml.recommend import Course, Ranked, Recommendation, Recommender
from mooc_maml.recommend.service import metrics
from mooc_maml.recommend.service.app import create_app
from mooc_maml.recommend.service.command import serve
from mooc_maml.recommend.service.settings import Limits, ServiceSettings
from mooc_maml.recommend.service.why import reasons

KEY = "a key of some length"


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return Recommender.load(write_bundle(tmp_path_factory.mktemp("service") / "bundle"))


@pytest.fixture(scope="module")
def app(recommender: Recommender) -> ASGIApp:
    return create_app(recommender, ServiceSettings())


def test_answers_are_those_of_the_recommender(app: ASGIApp, recommender: Recommender) -> None:
    learners = [[[course(1 + (7 * i + j) % COURSES) for j in range(i)]] for i in range(9)]
    learners.append([[course(3), course(4)], [course(5), course(9), course(2)]])
    asked = {"learners": [{"sessions": one} for one in learners], "top": 7, "inner_steps": 3}
    answer = ask(app, "POST", "/recommend", json=asked)
    assert answer.status_code == 200, answer.text
    offline = recommender.recommend(learners, top=7, inner_steps=3)
    for got, own in zip(answer.json()["recommendations"], offline, strict=True):
        assert (got["kind"], got["pairs"], got["inner_steps"]) == (
            own.kind,
            own.pairs,
            own.inner_steps,
        )
        for name, rows in (("before", own.before), ("after", own.after)):
            assert [
                (row["course"]["id"], row["rank"], row["rank_before"], row["score"])
                for row in got[name]
            ] == [(row.course.id, row.rank, row.rank_before, row.score) for row in rows]


def test_an_unknown_course_is_named_and_left_out(app: ASGIApp) -> None:
    body = {"learners": [{"courses": ["C001", "Chemistri 1", "C003"]}], "top": 3}
    told = ask(app, "POST", "/recommend", json=body).json()["recommendations"][0]
    without = ask(app, "POST", "/recommend", json=question(1, 3, top=3)).json()
    assert told["after"] == without["recommendations"][0]["after"]
    (unknown,) = told["unknown"]
    assert unknown["id"] == "Chemistri 1"
    assert {"id": "C002", "title": title(2)} in unknown["near"]


def test_zero_steps_are_the_list_before(app: ASGIApp) -> None:
    def lists(steps: int) -> tuple[list[str], list[str]]:
        answer = ask(app, "POST", "/recommend", json=question(1, 2, 3, 4, inner_steps=steps))
        own = answer.json()["recommendations"][0]
        return tuple([row["course"]["id"] for row in own[x]] for x in ("before", "after"))  # type: ignore[return-value]

    before, after = lists(0)
    assert before == after
    assert lists(5)[0] == before
    assert lists(5)[1] != before


def rows(*ids: str) -> tuple[Ranked, ...]:
    return tuple(Ranked(Course(id, None), i, i, 0.0) for i, id in enumerate(ids, 1))


def of(*ids: str) -> Recommendation:
    return Recommendation("m", "adapted", 1, 1, rows(*ids), rows(*ids), ())


def test_reasons_are_the_places_without_each_course_the_weightiest_first() -> None:
    """By hand: x 1, y 2; without a y 1, x 2; without b x 3 and no y; without c as it was."""
    lists = {"bc": of("y", "x", "z"), "ac": of("z", "w", "x"), "ab": of("x", "y", "z")}
    asked = []

    def answer(histories: Any, top: int) -> list[Recommendation]:
        asked.append(top)
        return [lists["".join("".join(session) for session in one)] for one in histories]

    found = reasons(answer, [["a"], ["b", "c"]], of("x", "y"), courses=20, deep=3)
    assert found == {
        "x": [("b", 3), ("a", 2), ("c", 1)],
        "y": [("b", None), ("a", 1), ("c", 2)],
    }
    assert asked == [3]


def test_why_names_courses_and_where_each_listed_one_would_stand(app: ASGIApp) -> None:
    body = question(1, 2, 3, top=2, why=True)
    first = ask(app, "POST", "/recommend", json=body).json()["recommendations"][0]["after"][0]
    without = {reason["without"]["id"]: reason["rank"] for reason in first["why"]}
    assert set(without) == {"C001", "C002", "C003"}
    answer = ask(app, "POST", "/recommend", json=question(1, 3, top=COURSES))
    ranked = answer.json()["recommendations"][0]["after"]
    assert without["C002"] == next(
        row["rank"] for row in ranked if row["course"]["id"] == first["course"]["id"]
    )


# (pairs x inner steps) squared, summed over learners, is at most 2,560,000
MANY = {"pairs": 1000, "inner_steps": 20}
BAD: list[tuple[Any, str, str | None]] = [
    ({}, "invalid", "body.learners"),
    ({"learners": []}, "invalid", "body.learners"),
    ({"learners": [{}]}, "not_together", "body.learners[0]"),
    ({"learners": [{"courses": ["a"], "sessions": []}]}, "not_together", "body.learners[0]"),
    ({"learners": [{"courses": [1]}]}, "invalid", "body.learners[0].courses[0]"),
    ({"learners": [{"courses": ["a" * 201]}]}, "invalid", "body.learners[0].courses[0]"),
    ({"learners": [{"courses": ["a"] * 1001}]}, "invalid", "body.learners[0].courses"),
    ({"learners": [{"sessions": [["a"] * 600] * 2}]}, "not_together", "body.learners[0]"),
    ({"learners": [{"courses": []}] * 257}, "invalid", "body.learners"),
    ({"learners": [{"courses": []}] * 200, "top": 101}, "not_together", "body"),
    ({"learners": [{"courses": None}]}, "invalid", "body.learners[0].courses"),
    (question(1, top=0), "invalid", "body.top"),
    (question(1, top="3"), "invalid", "body.top"),
    (question(1, inner_steps=-1), "invalid", "body.inner_steps"),
    (question(1, model="no such"), "no_model", "body.model"),
    (question(1, model="repeat", inner_steps=2), "not_possible", "body"),
    (question(1, other=3), "invalid", "body.other"),
    ({"learners": [{"courses": []}] * 2, "why": True}, "not_together", "body"),
    # (99 x 20)^2 = 3,920,400; 17 x (20 x 20)^2 = 2,720,000; 21 x (20 x 20)^2 = 3,360,000
    (question(*range(1, 34), *range(1, 34), *range(1, 34), **MANY), "not_together", "body"),
    ({"learners": [{"courses": ["C001", "C002"] * 10}] * 17, **MANY}, "not_together", "body"),
    (question(*range(1, 21), why=True, **MANY), "not_together", "body"),
]


@pytest.mark.parametrize(("body", "code", "where"), BAD)
def test_a_bad_question_is_told_what_is_wrong_with_it(
    app: ASGIApp, body: Any, code: str, where: str
) -> None:
    answer = ask(app, "POST", "/recommend", json=body)
    assert answer.status_code == 422
    error = error_of(answer)
    assert (error["code"], error["where"]) == (code, where)
    assert len(error["message"]) > 10
    assert "a" * 50 not in answer.text, "what was sent is not sent back"


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("GET", "/no/such", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/docs/..%2fapp.js", 404, "not_found"),
        ("GET", "/recommend", 405, "method_not_allowed"),
        ("DELETE", "/courses", 405, "method_not_allowed"),
        ("GET", "/courses?limit=0", 422, "invalid"),
        ("GET", f"/courses?search={'a' * 201}", 422, "invalid"),
    ],
)
def test_every_refusal_has_the_same_body(
    app: ASGIApp, method: str, address: str, status: int, code: str
) -> None:
    answer = ask(app, method, address)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"


def test_what_is_no_json_is_told_so(app: ASGIApp) -> None:
    sent = {"content": '{"learners": [', "headers": {"content-type": "application/json"}}
    assert error_of(ask(app, "POST", "/recommend", **sent))["code"] == "no_json"
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        body = {"content": '{"learners": [{}]}', "headers": {"content-type": kind}}
        assert "Content-Type: application/json" in ask(app, "POST", "/recommend", **body).text
    deep = {"content": "[" * 100_000, "headers": {"content-type": "application/json"}}
    assert ask(app, "POST", "/recommend", **deep).status_code == 400


class Fake:
    """A recommender that does what a test wants when it is asked."""

    def __init__(self, like: Recommender, does: Any) -> None:
        self.folder, self.bundle, self.models = like.folder, like.bundle, like.models
        self.catalogue, self._does = like.catalogue, does

    def recommend(self, *_: Any, **__: Any) -> list[Recommendation]:
        found: list[Recommendation] = self._does()
        return found


def faulty() -> list[Recommendation]:
    raise RuntimeError("/srv/secret/model.bin broke")


def fake_app(like: Recommender, does: Any, **limits: float) -> ASGIApp:
    own = ServiceSettings(limits=Limits.model_validate(limits))
    return create_app(Fake(like, does), own)  # type: ignore[arg-type]


def test_a_fault_tells_the_caller_nothing_and_the_log_all(
    recommender: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(fake_app(recommender, faulty), "POST", "/recommend", json=question(1))
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal"
    assert not re.search("secret|Traceback|RuntimeError|/srv|site-packages", answer.text)
    assert "/srv/secret/model.bin broke" in caplog.text


def test_what_cannot_be_ready_in_time_is_refused(recommender: Recommender) -> None:
    release = threading.Event()

    def slow() -> list[Recommendation]:
        release.wait(20)
        return [of("x")]

    app = fake_app(recommender, slow, request_seconds=0.2)
    try:
        answer = ask(app, "POST", "/recommend", json=question(1))
    finally:
        release.set()
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "too_late"
    assert int(answer.headers["retry-after"]) >= 1


def test_more_requests_than_may_wait_are_refused_at_once(recommender: Recommender) -> None:
    asked, enough = [0], threading.Event()

    def slow() -> list[Recommendation]:
        asked[0] += 1
        enough.wait(0.2)
        return [of("x")]

    app = fake_app(recommender, slow, waiting=3)
    answers = ask_many(app, [("POST", "/recommend", {"json": question(1)})] * 10)
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 3 + [503] * 7
    assert asked[0] == 3
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert (error_of(refused)["code"], refused.headers["retry-after"]) == ("overloaded", "1")
    assert ask(app, "POST", "/recommend", json=question(1)).status_code == 200, (
        "places are given back"
    )


async def send_slowly() -> Any:
    import asyncio

    yield b'{"learners": '
    await asyncio.sleep(5)
    yield b"[]}"


def test_a_body_that_comes_too_slowly_or_is_too_long_is_refused(recommender: Recommender) -> None:
    app = fake_app(recommender, faulty, request_seconds=0.2, body_bytes=1000)
    answer = ask(app, "POST", "/recommend", content=send_slowly())
    assert (answer.status_code, error_of(answer)["code"]) == (408, "slow_request")

    async def long() -> Any:
        for _ in range(11):
            yield b" " * 100

    for sent in ({"content": b" " * 1001}, {"content": long()}):
        answer = ask(app, "POST", "/recommend", **sent)
        assert (answer.status_code, error_of(answer)["code"]) == (413, "too_long")


def test_a_key_is_asked_for_where_one_is_set(recommender: Recommender) -> None:
    settings = ServiceSettings(key=KEY, host="0.0.0.0")
    assert KEY not in repr(settings)
    app = create_app(recommender, settings)
    for address in ("/model", "/courses", "/metrics", "/model/"):
        for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": KEY + "x"}):
            answer = ask(app, "GET", address, headers=headers)
            assert (answer.status_code, error_of(answer)["code"]) == (401, "unauthorized")
    assert ask(app, "POST", "/reload").status_code == 401, "even from this machine"
    assert ask(app, "GET", "/model", headers={"X-API-Key": KEY}).status_code == 200
    assert ask(app, "GET", "/health").status_code == 200
    assert ask(app, "GET", "/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 503),  # allowed; there is no supervisor here
        ({"Origin": "http://localhost"}, 503),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"X-Forwarded-For": "203.0.113.9"}, 403),
    ],
)
def test_without_a_key_only_this_machine_may_reload(
    app: ASGIApp, headers: dict[str, str], status: int
) -> None:
    assert ask(app, "POST", "/reload", headers=headers).status_code == status


def test_another_machine_may_not_reload_without_a_key(app: ASGIApp) -> None:
    async def from_afar(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"client": ("192.0.2.7", 1)}, receive, send)

    assert ask(from_afar, "POST", "/reload").status_code == 403


def test_a_name_that_was_made_to_point_here_is_not_answered(
    app: ASGIApp, recommender: Recommender
) -> None:
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", ""):
        answer = ask(app, "GET", "/model", headers={"Host": host})
        assert (answer.status_code, error_of(answer)["code"]) == (421, "wrong_host"), host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "[::1]"):
        assert ask(app, "GET", "/model", headers={"Host": host}).status_code == 200, host
    two = ask(app, "GET", "/model", headers=[("Host", "localhost"), ("Host", "evil.example")])
    assert (two.status_code, error_of(two)["where"]) == (400, "header.Host")
    named = create_app(recommender, ServiceSettings(hosts=("courses.example",)))
    assert ask(named, "GET", "/model", headers={"Host": "courses.example"}).status_code == 200


def test_pages_elsewhere_may_ask_only_if_named(app: ASGIApp, recommender: Recommender) -> None:
    there = {"Origin": "https://platform.example"}
    assert "access-control-allow-origin" not in ask(app, "GET", "/model", headers=there).headers
    named = create_app(recommender, ServiceSettings(origins=(there["Origin"],)))
    answer = ask(named, "GET", "/model", headers=there)
    assert answer.headers["access-control-allow-origin"] == there["Origin"]
    other = ask(named, "GET", "/model", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_metrics_count_requests_and_learners_and_never_names(recommender: Recommender) -> None:
    app = create_app(recommender, ServiceSettings())
    ask(app, "POST", "/recommend", json={"learners": [{"courses": ["C001", "C002"]}] * 3})
    ask(app, "POST", "/recommend", json={})
    ask(app, "GET", "/secret-of-a-caller")
    text = ask(app, "GET", "/metrics").text
    recommend = 'mooc_maml_requests_total{method="POST",path="/recommend"'
    assert f'{recommend},status="200"}} 1.0' in text
    assert f'{recommend},status="422"}} 1.0' in text
    assert 'mooc_maml_learners_total{kind="adapted",model="few_shot"} 3.0' in text
    assert 'path="other",status="404"} 1.0' in text
    assert "secret-of-a-caller" not in text


def test_counts_go_on_in_the_files_of_a_place_which_never_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes the place of one that has ended, and goes on counting where it was."""
    monkeypatch.setenv(metrics.SHARED, str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    metrics.reserve(0)
    for _ in range(3):
        metrics.count_in(0)
        own = metrics.Metrics()
        for method in (*metrics._METHODS, "PUT"):
            for path in (*metrics._PATHS, "/elsewhere"):
                for status in (0, 200, 400, 401, 403, 404, 405, 408, 409, 413, 421, 422, 500, 503):
                    own.count(method, path, status, 0.1)
        own._now.inc()  # a request that it never answered
        metrics.leave(0)
    text = own.exposition().decode()
    assert 'mooc_maml_requests_total{method="GET",path="/courses",status="422"} 3.0' in text
    assert "mooc_maml_requests_in_progress" not in text
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == dict.fromkeys(
        ("counter_0.db", "gauge_livesum_0.db", "histogram_0.db"), metrics._BYTES
    )


def test_model_says_in_a_sentence_what_it_is_worth(app: ASGIApp) -> None:
    told = ask(app, "GET", "/model").json()
    assert (told["pairs"], told["courses"], told["data"]["synthetic"]) == (5, COURSES, True)
    few, zero, repeat, _ = told["models"]
    assert few["worth"] == (
        "In a test with 1,310 next courses of 131 synthetic test learners, the list of ten, after "
        "its steps, held the right course in 41.1 % (95 % interval 38.1 to 44.1 %) of cases; "
        "before, 35.4 % (95 % interval 32.4 to 38.4 %)."
    )
    assert "before" not in zero["worth"]
    assert (few["inner_steps"], repeat["inner_steps"], repeat["kind"]) == (5, None, "informed")


def test_pages_come_from_here_alone(app: ASGIApp) -> None:
    """Every file that the pages name is served, and no address of another server is in them."""
    for page in ("/", "/docs"):
        answer = ask(app, "GET", page)
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe-eval" not in answer.headers["content-security-policy"]
        files = re.findall(r'(?:src|href)="([^"#]+)"', answer.text)
        assert files
        for name in files:
            found = ask(app, "GET", f"/{name}")
            assert found.status_code == 200, name
            if "swagger" not in name:
                assert not re.search(r"(?:src|href|url|import|fetch)[\s=(\"']+https?:", found.text)
    for script in ("asking", "drawing", "picking"):
        assert ask(app, "GET", f"/{script}.js").status_code == 200
        assert "innerHTML" not in ask(app, "GET", f"/{script}.js").text


def test_searching_finds_by_title_and_lists_the_first_where_nothing_is_searched(
    app: ASGIApp,
) -> None:
    found = ask(app, "GET", "/courses?search=botany 3&limit=1").json()["courses"]
    assert found == [{"id": course(11), "title": "Botany 3"}]
    first = ask(app, "GET", "/courses?limit=2").json()["courses"]
    assert [own["id"] for own in first] == [course(1), course(2)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 70000}, "--port: input should be less than or equal to 65535"),
        ({"workers": 0}, "--workers: input should be greater"),
        ({"max_waiting": 0}, "--max-waiting: input should be greater"),
        ({"key_file": Path("none/such")}, "--key-file none/such: No such file"),
    ],
)
def test_wrong_options_are_told_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        serve(**options)


def test_a_machine_without_a_place_for_temporary_files_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    with pytest.raises(UserError, match=r"temporary files.*No such file.*TMPDIR.*--tmpfs /tmp"):
        serve()


def test_a_short_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret")
    with pytest.raises(UserError, match="the key: string should have at least 8") as found:
        serve(key_file=tmp_path / "key")
    assert "s3cret" not in str(found.value)


PATIENCE = 300  # seconds
NOT_IN_SCHEMA = {"not_together", "not_possible", "no_model"}


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("examples", [2, pytest.param(300, marks=pytest.mark.thorough)])
def test_answers_keep_to_the_schema(
    recommender: Recommender, mode: GenerationMode, examples: int
) -> None:
    """Requests that the schema allows, and ones that it does not, get answers that it names."""
    # what takes long is not asked here: on a busy machine some answers take more than ten seconds
    limits = Limits(request_seconds=PATIENCE)
    app = create_app(recommender, ServiceSettings(hosts=("testserver",), limits=limits))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 6
    checked = []
    for operation in operations:

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # to make a failing example small takes minutes
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            checked.append(case.path)
            answer = case.call_and_validate(
                excluded_checks=[positive_data_acceptance], timeout=PATIENCE
            )
            if mode is GenerationMode.POSITIVE and answer.status_code == 422:
                assert answer.json()["error"]["code"] in NOT_IN_SCHEMA
            # an unknown course is named in the answer, and Hypothesis draws words of our own files
            asked = f"{case.body} {case.query}"
            for word in re.findall("Traceback|site-packages|/src/", answer.text):
                assert word in asked

        with suppress(Unsatisfiable):  # of an operation without parameters nothing can be wrong
            check()
    assert checked.count("/recommend") >= examples
