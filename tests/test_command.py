"""The command line: what it prints, and that what is wrong is one line."""

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from bundle_helpers import IDS, TITLES, made
from conftest import ROOT

from mooc_maml.recommend import Recommender
from mooc_maml.recommend import command as program

COURSES = ",".join(IDS[:4])


class Said:
    """Exit status, standard output and standard error of a command."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `mooc-maml ARGUMENTS --bundle ...` in this process."""
    folder = made().folder
    capfd.readouterr()

    def run(*arguments: str, stdin: str | None = None) -> Said:
        monkeypatch.setattr(sys, "argv", ["mooc-maml", *arguments, "--bundle", str(folder)])
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            program.main()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run


def test_the_table_shows_both_lists_and_how_courses_moved(ask: Any) -> None:
    said = ask("recommend", "--courses", COURSES, "--model", "few_shot", "--top", "12")
    assert said.status == 0
    (answer,) = Recommender.load(made().folder).recommend([[IDS[:4]]], model="few_shot", top=12)
    lines = said.out.splitlines()
    assert lines[0] == "MAML few-shot: 2 gradient steps on your last 2 pairs"
    assert lines[1].split() == ["zero-shot", "adapted"]
    for line, left, right in zip(lines[2:14], answer.before, answer.after, strict=True):
        assert (TITLES.get(left.course.id) or left.course.id) in line
        assert (TITLES.get(right.course.id) or right.course.id) in line
        way = right.rank_before - right.rank
        arrow = (
            "=" if not way else f"{'↑' if way > 0 else '↓'} {abs(way)} (from {right.rank_before})"
        )
        assert line.endswith(arrow)
    metric = made().run.tested.few_shot
    assert f"{100 * metric['HR@10']:.0f} were among its first ten" in lines[-1]
    assert "Synthetic data: that says nothing of real learners." in lines[-1]


def test_json_and_csv_hold_what_the_library_answers(ask: Any) -> None:
    (answer,) = Recommender.load(made().folder).recommend([[IDS[:2], IDS[2:5]]], top=3)
    sessions = f"{IDS[0]}, {IDS[1]} ;{','.join(IDS[2:5])}"
    said = ask("recommend", "--sessions", sessions, "--top", "3", "--format", "json")
    found = json.loads(said.out)
    (own,) = found["answers"]
    assert [x["course"]["id"] for x in own["after"]] == [x.course.id for x in answer.after]
    assert [x["score"] for x in own["after"]] == [x.score for x in answer.after]
    assert own["pairs"] == answer.pairs
    assert found["bundle"]["synthetic"] is True
    assert set(found["models"][answer.model]["metrics"]["MRR"]) == {"mean", "low", "high"}
    said = ask("recommend", "--sessions", sessions, "--top", "3", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [(row["course"], float(row["score"]), int(row["rank_before"])) for row in rows] == [
        (x.course.id, x.score, x.rank_before) for x in answer.after
    ]


LEARNERS = {"ann": [["course-1", "course-2"], ["course-3"]], "bo": [["course-4", "course-5"]]}


def learners_csv() -> str:
    rows = [
        f"{learner},{number},{course}"
        for number in range(2)  # learners mixed, as logs have them
        for learner, sessions in LEARNERS.items()
        for course in (sessions[number] if number < len(sessions) else [])
    ]
    return "learner,session,course\n" + "\n".join(rows) + "\n"


def learners_jsonl() -> str:
    lines = [{"learner": name, "sessions": own} for name, own in LEARNERS.items()]
    return "\n".join(json.dumps(line) for line in lines)


def test_files_of_many_learners(ask: Any, tmp_path: Path) -> None:
    expected = Recommender.load(made().folder).recommend(list(LEARNERS.values()), top=4)
    (tmp_path / "a file.csv").write_text(learners_csv(), encoding="utf-8-sig")
    (tmp_path / "learners.jsonl").write_text(learners_jsonl())
    rows = list(csv.DictReader(io.StringIO(learners_csv())))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "learners.parquet")
    places: list[tuple[str, str | None]] = [(str(path), None) for path in tmp_path.iterdir()]
    places += [("-", learners_csv()), ("-", learners_jsonl())]
    assert len(places) == 5
    for place, stdin in places:
        said = ask("recommend", place, "--top", "4", "--format", "json", stdin=stdin)
        found = json.loads(said.out)["answers"]
        assert [own["learner"] for own in found] == list(LEARNERS)
        for own, answer in zip(found, expected, strict=True):
            assert [x["course"]["id"] for x in own["after"]] == [x.course.id for x in answer.after]
    lists = '["course-1", "course-2"]\n[["course-1"], ["course-2"]]\n{"courses": []}\n'
    found = json.loads(ask("recommend", "-", "--format", "json", stdin=lists).out)["answers"]
    assert [own["learner"] for own in found] == ["1", "2", "3"]
    assert [own["pairs"] for own in found[:2]] == [1, 0]
    assert found[2]["model"] == "popularity"


def test_what_is_left_out(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("course-7\ncourse-8\nold\n")

    def ids(*options: str) -> tuple[list[str], str]:
        said = ask("recommend", "--courses", COURSES, "--top", "12", "--format", "csv", *options)
        assert said.status == 0
        return [row["course"] for row in csv.DictReader(io.StringIO(said.out))], said.err

    assert not set(ids("--exclude", "seen")[0]) & set(IDS[:4])
    assert set(ids("--exclude", "none")[0]) == set(IDS)
    found, notes = ids("--exclude", str(tmp_path / "ids"))
    assert set(found) == set(IDS) - {"course-7", "course-8"}
    assert notes == "note: --exclude: 1 ids are not known to the bundle, such as 'old'\n"
    assert set(ids("--only", str(tmp_path / "ids"))[0]) == {"course-7", "course-8"}


def test_unknown_courses_and_models_that_hold_learners_are_told(ask: Any) -> None:
    said = ask("recommend", "--courses", f"{COURSES},curse-9", "--format", "csv")
    assert said.status == 0
    assert "left out 'curse-9', a course that the bundle does not know; did you mean" in said.err
    assert "course-9 (Title COURSE-9)" in said.err
    said = ask("recommend", "--courses", COURSES, "--model", "mixture")
    assert "note: mixture holds sessions of training learners" in said.err
    assert "adapted" in said.out
    assert ask("recommend", "--courses", COURSES, "--model", "repeat").err == ""


def test_courses_and_show(ask: Any) -> None:
    assert ask("courses", "--search", "course-3").out.split() == ["course-3", "Title", "COURSE-3"]
    found = json.loads(ask("courses", "--limit", "2", "--format", "json").out)
    assert found == [
        {"id": IDS[0], "title": TITLES[IDS[0]]},
        {"id": IDS[1], "title": TITLES[IDS[1]]},
    ]
    assert "the first 2 of 12 courses" in ask("courses", "--limit", "2").err
    assert ask("courses", "--search", "zzzz").status == 1
    said = ask("show")
    assert "synthetic data; 12 courses, 11 with a title" in said.out
    assert "holds training learners' sessions" in said.out
    assert all(model in said.out for model in Recommender.load(made().folder).models)
    content = json.loads(ask("show", "--format", "json").out)
    assert content["number_of_courses"] == 12
    rows = list(csv.DictReader(io.StringIO(ask("show", "--format", "csv").out)))
    assert {row["model"] for row in rows} == set(Recommender.load(made().folder).models)


WRONG: list[tuple[tuple[str, ...], str | None, str]] = [
    (("recommend",), None, "say for whom"),
    (("recommend", "--courses", "a", "--sessions", "b"), None, "give one of them"),
    (("recommend", "-", "--courses", "a"), "", "not both"),
    (("recommend", "nix.csv"), None, "nix.csv: No such file or directory"),
    (("recommend", "."), None, ".: Is a directory"),
    (("recommend", "a\0b"), None, "null"),
    (("recommend", "-"), "", "standard input: no column learner or course (found )"),
    (("recommend", "-"), "who,what\n1,2\n", "no column learner or course (found who, what)"),
    (("recommend", "-"), "learner,course\n", "no rows"),
    (("recommend", "-"), "learner,course\na\n", "line 2: learner or course is empty"),
    (("recommend", "-"), "{", "line 1: not valid JSON"),
    (("recommend", "-"), '{"a": 1}', 'line 1: found {"a": 1}, expected {"learner"'),
    (("recommend", "-"), '{"sessions": ["a"]}', "line 1: sessions are no list of lists"),
    (("recommend", "-"), '{"sessions": [[null]]}', "line 1: a course is no text"),
    (("recommend", "--courses", "a", "--model", "nix"), None, "model: found 'nix', this bundle"),
    (("recommend", "--courses", "a", "--only", "nix"), None, "--only nix: No such file"),
    (("recommend", "--courses", "a", "--steps", "3", "--model", "gru"), None, "gru takes no steps"),
]


@pytest.mark.parametrize(("arguments", "stdin", "words"), WRONG)
def test_what_is_wrong_is_one_line(
    ask: Any, arguments: tuple[str, ...], stdin: str | None, words: str
) -> None:
    said = ask(*arguments, stdin=stdin)
    assert said.status == 1
    assert words in said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize(
    "arguments",
    [("recommend", "--top", "0"), ("recommend", "--nix"), ("nix",), ("show", "--format", "xml")],
)
def test_wrong_options_say_how_to_use_it(ask: Any, arguments: tuple[str, ...]) -> None:
    said = ask(*arguments)
    assert said.status == 2
    assert "Traceback" not in said.err
    assert "Usage: mooc-maml" in said.err


def test_what_steers_a_terminal_is_not_printed(ask: Any) -> None:
    learner = '{"learner": "\\u001b[2J\\u202e", "courses": ["course-1"]}\n'
    said = ask("recommend", "-", stdin=2 * learner)
    assert "\x1b" not in said.out + said.err
    assert "\u202e" not in said.out + said.err


def run(*code: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, *code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_what_does_not_compute_loads_no_pytorch() -> None:
    code = (
        "import sys; from mooc_maml.recommend.command import main; "
        f"sys.argv = ['mooc-maml', 'show', '--bundle', {str(made().folder)!r}]\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert "Models, the best on validation first:" in done.stdout


def test_an_answer_loads_only_what_it_needs() -> None:
    """Half a second of every start; `default_model` of this bundle needs none of them."""
    code = (
        "import sys; from mooc_maml.recommend import Recommender; "
        f"bundle = Recommender.load({str(made().folder)!r}); "
        "bundle.recommend([[[bundle.bundle.courses[0]]]], model='zero_shot'); "
        "assert not {'pandas', 'scipy', 'sympy', 'torch._dynamo', 'matplotlib'} & set(sys.modules)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_the_stage_that_the_page_shows_scores_a_table(tmp_path: Path) -> None:
    """docs/use/recommend.md: its stage, in a folder with a bundle and a table."""
    page = (ROOT / "docs" / "use" / "recommend.md").read_text(encoding="utf-8")
    stage = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["score"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bundle").symlink_to(made().folder)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "learners.csv").write_text(learners_csv())
    name, *arguments = shlex.split(stage["cmd"])
    assert name == "mooc-maml"
    code = (
        "import sys; from mooc_maml.recommend.command import main; "
        f"sys.argv = ['mooc-maml', *{arguments!r}]; main()"
    )
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    (out,) = stage["outs"]
    with (tmp_path / out).open() as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["learner"] for row in rows)) == list(LEARNERS)
    assert all(row["course"] not in LEARNERS["bo"][0] for row in rows if row["learner"] == "bo")
