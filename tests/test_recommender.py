"""Asking a bundle: the lists, what is left out of them, and what is no question."""

import json
import math
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import small_bundle
from bundle_helpers import IDS, STORE, TITLES, Made, made, sessions_before_query

from mooc_maml.common.errors import UserError
from mooc_maml.recommend import Course, Recommendation, Recommender


@pytest.fixture(scope="module")
def whole() -> Made:
    return made()


@pytest.fixture(scope="module")
def bundle(whole: Made) -> Recommender:
    return Recommender.load(whole.folder)


HISTORY = [[IDS[0], IDS[3], IDS[1]], [IDS[4], IDS[5], IDS[2]]]


def order(found: Recommendation) -> list[str]:
    return [own.course.id for own in found.after]


def test_a_test_learner_gets_the_ranks_of_the_test(whole: Made, bundle: Recommender) -> None:
    """All that was opened before the first query, as plain lists."""
    told = [sessions_before_query(task) for task in range(len(STORE.episodes["test"]))]
    assert len(told) > 3
    for name, expected in whole.contenders.answers("test"):
        if name == "random":
            continue
        found = bundle.recommend([own for own, _ in told], model=name, top=12)
        for own, (_, course), rank in zip(found, told, expected.ranks[:, 0], strict=True):
            assert own.pairs == (2 if own.kind != "plain" else 0)
            place = order(own).index(IDS[course - 1]) + 1
            score = own.after[place - 1].score
            ties = sum(x.score == score for x in own.after[place:])
            assert place + ties == rank, "ties count against the model"


def test_each_course_says_where_it_stood_before(bundle: Recommender) -> None:
    (found,) = bundle.recommend([HISTORY], model="few_shot", top=12)
    assert found.kind == "adapted"
    assert (found.pairs, found.inner_steps) == (2, 2)
    before = [own.course.id for own in found.before]
    assert sorted(before) == sorted(order(found)) == sorted(IDS)
    assert [own.rank for own in found.after] == list(range(1, 13))
    assert [own.rank_before for own in found.after] == [before.index(x) + 1 for x in order(found)]
    assert before != order(found), "two steps of 0.1 move something"
    scores = [own.score for own in found.after]
    assert scores == sorted(scores, reverse=True)
    (few,) = bundle.recommend([HISTORY], model="few_shot", top=3)
    assert few.after == found.after[:3]
    (alone,) = bundle.recommend([HISTORY], model="zero_shot", top=12)
    assert [own.course for own in alone.after] == [own.course for own in found.before]
    assert found.after[0].course == Course(order(found)[0], TITLES.get(order(found)[0]))


def test_steps_and_pairs_can_be_chosen(bundle: Recommender) -> None:
    def ask(**options: Any) -> Recommendation:
        return bundle.recommend([HISTORY], model="few_shot", top=12, **options)[0]

    none, one, five = (ask(inner_steps=number) for number in (0, 1, 5))
    assert none.after == none.before
    assert (none.inner_steps, one.inner_steps, five.inner_steps) == (0, 1, 5)
    assert len({tuple(own.score for own in x.after) for x in (none, one, five)}) == 3
    assert ask(inner_steps=2).after == ask().after
    assert [ask(pairs=number).pairs for number in (0, 1, 3, 4, 9)] == [0, 1, 3, 4, 4]
    assert ask(pairs=0).after == none.after
    assert ask(pairs=4).after != ask(pairs=2).after


@pytest.mark.parametrize("model", ["few_shot", "repeat", "gru", "mixture", "pool", "markov"])
def test_fewer_pairs_and_none(bundle: Recommender, model: str) -> None:
    learners = [[[IDS[0]]], [[IDS[0], IDS[1]]], [[IDS[0]], [IDS[1]]], HISTORY]
    found = bundle.recommend(learners, model=model, top=12)
    pairs = [0, 1, 0, 2] if found[0].kind != "plain" else [0] * 4
    assert [own.pairs for own in found] == pairs
    assert all(own.after == own.before for own in found if not own.pairs)
    for learner, own in zip(learners, found, strict=True):  # alone as among others
        (alone,) = bundle.recommend([learner], model=model, top=12)
        close = [
            math.isclose(x.score, y.score, abs_tol=1e-5)
            for x, y in zip(
                sorted(own.after, key=lambda x: x.course.id),
                sorted(alone.after, key=lambda x: x.course.id),
                strict=True,
            )
        ]
        assert all(close)


def test_what_is_left_out(bundle: Recommender) -> None:
    def ask(**options: Any) -> list[str]:
        return order(bundle.recommend([HISTORY], model="gru", top=12, **options)[0])

    everything = ask()
    assert ask(exclude="none") == everything
    seen = {id for session in HISTORY for id in session}
    assert ask(exclude="seen") == [id for id in everything if id not in seen]
    assert ask(exclude=[IDS[6], "nix"]) == [id for id in everything if id != IDS[6]]
    assert ask(only=IDS[6:9]) == [id for id in everything if id in IDS[6:9]]
    assert ask(only=IDS[4:9], exclude="seen") == [id for id in everything if id in IDS[6:9]]
    (found,) = bundle.recommend([HISTORY], model="few_shot", top=12, only=IDS[6:9])
    assert sorted(own.rank_before for own in found.after) == [1, 2, 3]
    assert len(found.before) == 3


def test_the_rule_of_the_training_is_the_default(whole: Made) -> None:
    rules = whole.run.tested.seen_courses
    assert not rules.prefix_left_out
    from mooc_maml.recommend.bundle import read_bundle

    info = read_bundle(whole.folder)
    own = info.model_copy(update={"rules": info.rules.model_copy(update={"seen_prefix": True})})
    strict = Recommender(whole.folder, own)
    (found,) = strict.recommend([HISTORY], model="gru", top=12)
    assert set(order(found)) == set(IDS) - set(HISTORY[-1])
    (found,) = strict.recommend([HISTORY], model="gru", top=12, exclude="none")
    assert set(order(found)) == set(IDS)


def test_unknown_courses_are_left_out_and_named(bundle: Recommender) -> None:
    told = [["course-1", "COURSE-2 ", "course-4", "nothing like it", "COURSE-2 "]]
    (found,) = bundle.recommend([told], model="repeat")
    (known,) = bundle.recommend([[["course-1", "course-4"]]], model="repeat")
    assert found.after == known.after
    assert [own.id for own in found.unknown] == ["COURSE-2 ", "nothing like it"]
    assert found.unknown[0].near[0].id == "course-2"


def test_of_whom_nothing_is_known_popularity_answers(bundle: Recommender) -> None:
    learners = [[], [[]], [["nix"]], HISTORY, [[], ["nix", "nix"]]]
    found = bundle.recommend(learners, model="few_shot", top=4)
    counts = bundle.read("popularity").model.counts.tolist()
    best = [IDS[i] for i in sorted(range(12), key=lambda i: (-counts[i], i))[:4]]
    for place in (0, 1, 2, 4):
        assert found[place].model == "popularity"
        assert order(found[place]) == best
    assert found[3].model == "few_shot"
    assert bundle.recommend([]) == []


def test_repeats_are_read_as_in_training(bundle: Recommender) -> None:
    assert bundle.bundle.rules.drop_consecutive_repeats
    told = [[IDS[0], IDS[0], "nix", IDS[0], IDS[1]]]
    assert bundle.recommend([told])[0].after == bundle.recommend([[IDS[:2]]])[0].after


def test_a_number_stands_for_its_digits(whole: Made) -> None:
    from mooc_maml.recommend.bundle import read_bundle

    info = read_bundle(whole.folder)
    own = Recommender(
        whole.folder, info.model_copy(update={"courses": [str(n) for n in range(1, 13)]})
    )
    assert own.recommend([[[1, 2]]])[0].after == own.recommend([[["1", "2"]]])[0].after  # type: ignore[list-item]


BAD: list[tuple[Any, str]] = [
    (None, "learners: found 'None'"),
    ("course-1", "learners: found 'course-1'"),
    (["course-1"], "learner 1: found 'course-1', expected learner -> sessions"),
    ([["course-1"]], "learner 1, session 1: found 'course-1'"),
    ([[[None]]], "learner 1, session 1: found 'None' in place of a course id"),
    ([[[1.5]]], "found '1.5' in place of a course id"),
    ([[[True]]], "found 'True' in place of a course id"),
    ([[[["course-1"]]]], "in place of a course id"),
    ([{"a": 1}], "learner 1: found "),
    (7, "learners: found '7'"),
]


@pytest.mark.parametrize(("learners", "words"), BAD)
def test_what_is_no_list_of_learners(bundle: Recommender, learners: Any, words: str) -> None:
    with pytest.raises(UserError) as error:
        bundle.recommend(learners)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": 0}, "top: found '0', expected a whole number from 1"),
        ({"top": "3"}, "top: found '3'"),
        ({"model": "nix"}, "model: found 'nix', this bundle has "),
        ({"exclude": "sen"}, 'exclude: found \'sen\', expected "seen", "none" or a list'),
        ({"exclude": [None]}, "exclude: expected"),
        ({"only": "course-1"}, "only: found 'course-1', expected course ids"),
        ({"only": ["nix"]}, "no course is left of 12"),
        ({"only": []}, "no course is left of 12"),
        ({"inner_steps": 3, "model": "gru"}, "gru takes no steps"),
        ({"inner_steps": -1, "model": "few_shot"}, "inner_steps: found '-1'"),
        ({"inner_steps": 10**9, "model": "few_shot"}, "from 0 to 100"),
        ({"pairs": -1}, "pairs: found '-1'"),
    ],
)
def test_options_that_are_none(bundle: Recommender, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        bundle.recommend([HISTORY], **options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_long_history_and_many_unknown_ids_take_no_time(bundle: Recommender) -> None:
    long = [IDS[number % 11] for number in range(100_000)]
    (found,) = bundle.recommend([[long]], model="few_shot")
    assert found.after == bundle.recommend([[long[-30:]]], model="few_shot")[0].after
    (found,) = bundle.recommend([[[f"{'x' * 10_000}{n}" for n in range(500)], [IDS[0]]]])
    assert len(found.unknown) == 500


def test_threads_ask_at_a_time(whole: Made) -> None:
    shared = Recommender.load(whole.folder)
    expected = {name: shared.recommend([HISTORY], model=name) for name in shared.models}
    fresh, found = Recommender.load(whole.folder), dict[str, Any]()

    def ask(name: str) -> None:
        found[name] = fresh.recommend([HISTORY], model=name)

    threads = [Thread(target=ask, args=(name,)) for name in fresh.models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("course-3", "course-3"),
        ("COURSE-10", "course-10"),
        ("title course-7", "course-7"),
        ("coarse-8", "course-8"),
        ("titel course-4", "course-4"),
    ],
)
def test_search(bundle: Recommender, text: str, first: str) -> None:
    assert bundle.search(text)[0].id == first


def test_search_of_nothing(bundle: Recommender) -> None:
    assert bundle.search("") == bundle.search("   ") == bundle.search("zzzzqqqq") == []
    assert bundle.search("course", 0) == []
    assert len(bundle.search("course", 3)) == 3


def test_titles_in_a_bundle(tmp_path: Path) -> None:
    from mooc_maml.recommend.titles import titles_in

    assert titles_in(tmp_path) == {}
    bundle = small_bundle.write_bundle(tmp_path / "bundle")
    found = titles_in(bundle)
    assert len(found) == small_bundle.COURSES
    assert found[small_bundle.course(8)] == small_bundle.title(8) == "Drawing 2"
    content = json.loads((bundle / "bundle.json").read_text())
    content["titles"][7] = None
    (bundle / "bundle.json").write_text(json.dumps(content))
    assert found.keys() - titles_in(bundle).keys() == {small_bundle.course(8)}
    (bundle / "bundle.json").write_text(json.dumps(content | {"titles": None}))
    assert titles_in(bundle) == {}


def test_titles_of_a_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mooc_maml.recommend.titles import read_titles

    text = 'course,title\na,"One, and more"\nb,Two\nb,Zwei\nc,\n\n'
    (tmp_path / "titles.csv").write_text(text, encoding="utf-8-sig")
    expected = {"a": "One, and more", "b": "Zwei"}
    assert read_titles(tmp_path / "titles.csv") == expected | {"course": "title"}
    table = pa.table({"id": ["a", "b", "c"], "name": ["One, and more", "Zwei", None]})
    pq.write_table(table, tmp_path / "titles.parquet")
    assert read_titles(tmp_path / "titles.parquet") == expected
    (tmp_path / "three.csv").write_text("a,b,c\n")
    for name, words in (("three.csv", "line 1: 3 columns"), ("nix.csv", "no such file")):
        with pytest.raises(UserError, match=words):
            read_titles(tmp_path / name)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"bad\.parquet"):
        read_titles(tmp_path / "bad.parquet")
