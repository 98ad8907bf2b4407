"""The line that tells how far a stage is: what it says, how often, and that it promises no more."""

import io
import sys
from pathlib import Path

import pytest

from mooc_maml.common import progress
from mooc_maml.common.progress import following, part, reading, say, step, words


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_a_minute_with_the_time_that_is_left(clock, capsys) -> None:
    with following("train", clock=clock), part("", 600, "updates"):
        for _ in range(600):  # 1 update a second
            clock.now += 1
            step()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 60 of 600 updates, about 9 min left"
    assert lines[-1] == "train: 600 of 600 updates, about 1 s left"
    assert len(lines) == 10  # 600 s


def test_what_takes_less_than_a_minute_says_nothing(clock, capsys) -> None:
    with following("train", clock=clock), part("", 59, "updates"):
        for _ in range(59):
            clock.now += 1
            step()
    assert capsys.readouterr().err == ""


def test_early_stopping_may_end_it_before(clock, capsys) -> None:
    with following("train", clock=clock), part("", 100, "updates", at_most=True):
        clock.now += 61
        step(50, note="loss 1.5")
    said = capsys.readouterr().err
    assert said == "train: 50 of 100 updates, at most about 2 min left; loss 1.5\n"  # 61 s


def test_what_a_run_before_has_done_took_no_time_of_this_one(clock, capsys) -> None:
    with following("train", clock=clock), part("", 1000, "updates", done=900):
        clock.now += 60
        step(10)
    # 6 s an update, 90 are left; with the 900 of before it would say 6 s
    assert capsys.readouterr().err == "train: 910 of 1,000 updates, about 9 min left\n"


def test_of_parts_not_timed_yet_nothing_is_promised(clock, capsys) -> None:
    plan = [("quick", 10), ("slow", 10), ("quick", 20), ("slow", 20)]
    with following("test", plan, clock):
        for name, learners in plan:
            with part(name, learners, "learners"):
                for _ in range(learners):
                    clock.now += {"quick": 1, "slow": 30}[name]
                    step()
    lines = capsys.readouterr().err.splitlines()
    # to come: 8 * 30 s of this part, then 20 * 1 s and 20 * 30 s, in all 860 s
    assert lines[0] == "test: slow (2 of 4), 2 of 10 learners, about 15 min left"
    with following("test", plan, clock), part("quick", 10, "learners"):
        clock.now += 60
        step(5)
    said = capsys.readouterr().err
    assert said == "test: quick (1 of 4), 5 of 10 learners, about 1 min left for this part\n"


def test_a_trained_model_is_numbered_by_its_place_in_the_plan(clock, capsys) -> None:
    plan = [("popularity", None), ("gru", None), ("sasrec", None)]
    with following("train_baselines", plan, clock), part("gru", 4, "pairs", at_most=True):
        clock.now += 60
        step()
    said = capsys.readouterr().err
    assert said.startswith("train_baselines: gru (2 of 3), 1 of 4 pairs, at most about 3 min left")
    assert said.endswith("for this part\n"), "nobody knows how long sasrec will take"


def test_a_part_within_a_part_is_of_the_outer_one(clock, capsys) -> None:
    with following("train", clock=clock), part("mixture", 4, "updates"):
        step()
        with part("", 10, "learners"):
            clock.now += 60
            step(0)
        step()
    with following("outer", clock=clock), following("inner", clock=clock), part("", 2, "x"):
        clock.now += 60
        step()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "train: mixture, 1 of 4 updates, about 3 min left"
    assert second == "outer: 1 of 2 x, about 1 min left"


def test_bytes_are_shown_in_megabytes(clock, capsys) -> None:
    plan = [("reading", None), ("sessions", None)]
    with following("preprocess", plan, clock), reading(3_000_000) as on_bytes:
        clock.now += 90
        on_bytes(1_500_000)
    said = capsys.readouterr().err
    assert said == "preprocess: reading (1 of 2), 1 of 3 MB, about 2 min left for this part\n"


def test_on_a_terminal_one_line_is_rewritten_and_taken_away(clock, monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with following("train", clock=clock), part("", 10, "updates"):
        for _ in range(3):
            clock.now += 1
            step()
        say("epoch 1: good")
    shown = terminal.getvalue()
    assert "\n" not in shown
    assert shown.index("1 of 10") < shown.index("2 of 10, about".replace(",", " updates,"))
    assert shown.rsplit("\r", 2)[1].strip() == "", "it ends with an empty line"


@pytest.mark.parametrize(
    ("variables", "rewritten"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "CI": "false"}, True),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_log_that_ci_keeps_gets_lines(monkeypatch, variables, rewritten) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress.is_rewritten() is rewritten
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not progress.is_rewritten()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 s"),
        (0.2, "1 s"),
        (40.1, "41 s"),
        (59.2, "1 min"),
        (61, "2 min"),
        (7_500, "2 h 5 min"),
    ],
)
def test_times_are_rounded_up(seconds: float, said: str) -> None:
    assert words(seconds) == said


def test_without_a_line_steps_go_nowhere(capsys) -> None:
    with part("gru", 1, "updates"):
        step()
    step()
    assert capsys.readouterr().err == ""


def test_the_page_shows_lines_as_they_are(clock, capsys) -> None:
    page = (Path(__file__).parents[1] / "docs/use/experiments.md").read_text(encoding="utf-8")
    train, test = (
        next(line[4:] for line in page.splitlines() if line.startswith(f"    {stage}: "))
        for stage in ("meta_train", "test")
    )
    with following("meta_train", clock=clock), part("", 10_000, "meta-updates", at_most=True):
        clock.now += 98
        step(1200, "loss 4.402")
    plan = [("gru", 131)] * 37 + [("mixture", 131)] + [("gru", 131)] * 10
    with following("test", plan, clock):
        for name, learners in plan[:38]:
            with part(name, 131, "learners"):
                clock.now += 61 if name == "mixture" else 1
                step(40 if name == "mixture" else learners)
    assert capsys.readouterr().err.splitlines() == [train, test]
