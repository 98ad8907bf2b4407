import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml
from episode_helpers import merged, params, small_store, steps
from pipeline_files import ROOT

from mooc_maml.baselines import sequence
from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Baseline, FittedOnValidation
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.popularity import Popularity
from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.sequence_training import Within
from mooc_maml.baselines.session_batches import SessionBatches
from mooc_maml.baselines.trained import model_path, shared_out, train_and_test, train_models
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.composites.pool import Pool
from mooc_maml.composites.registry import (
    COMPOSITES,
    MODELS,
    read_models,
)
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.store import EpisodeStore, write_episodes
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.runtime.processes import ProcessGroup
from mooc_maml.runtime.run_state import RunState
from mooc_maml.runtime.saved_state import SavedState
from mooc_maml.settings.baselines_section import BaselineParams
from mooc_maml.settings.composites_section import CompositeParams
from stages import train_baselines as stage
from stages import train_composites

CPU = torch.device("cpu")
SOURCE = Path(__file__).resolve().parents[1] / "src" / "mooc_maml"
pytestmark = pytest.mark.usefixtures("one_thread")


ALONE = {"device": "cpu", "threads": 1, "processes": 1}
FURTHER = {"epochs": 3, "updates": 4, "batch_size": 8}
SMALL = {
    "episodes": {"support_size": 2, "query_size": 3, "max_prefix_length": 4},
    "ablations": {"support_sizes": [1, 2]},
    "model": {"embedding_dim": 8, "hidden_dim": 16},
    "baselines": {
        "gru": {"epochs": 5, "batch_size": 32, "learning_rate": 0.02},
        "gru_tuned": {"hidden_dim": 16, "epochs": 2},
        "sasrec": {"dim": 8, "epochs": 2},
    },
    "composites": {
        "gru_fine_tuned": {
            "rates": (0.1,),
            "steps": (1, 2),
            "bias_rates": (0.1,),
            "adapt_on": ("pairs",),
        },
        "mixture": {"steps": 2, "updates": 2, "learners": 3, "learning_rate": 0.05},
        "gru_further": FURTHER,
    },
}


def circular_store() -> EpisodeStore:
    """After course c always comes c + 1, and after 9 comes 1."""
    rng = np.random.default_rng(0)
    sessions = [
        (learner, 1000 * n, ((rng.integers(9) + np.arange(rng.integers(2, 9))) % 9 + 1).tolist())
        for learner in range(80)
        for n in range(3)
    ]
    return build_episodes(steps(sessions), params(**SMALL))[0]


def test_popularity_counts_next_courses_of_training_learners_only():
    sessions = [(n, 0, [1, 2, 3, 2, 3, 2]) for n in range(10)]
    store, _ = build_episodes(steps(sessions, num_courses=4), params(**SMALL))
    test_learner = store.episodes["test"][0, 0]
    first = store.session_start[test_learner]
    store.courses[first : first + 6] = [1, 4, 3, 4, 3, 4]  # what only a test learner does
    popularity = Popularity.train(store, params(**SMALL), CPU, print)
    assert popularity.counts.tolist() == [0, 3 * 8, 2 * 8, 0]  # 8 training learners
    query = store.query("test", np.array([0]))
    assert popularity.scores(query, query).tolist() == [[[0, 24, 16, 0]] * 3]
    # The query's courses 4, 3, 4: course 3 is second, course 4 ties with course 1 for last.
    assert query_ranks(popularity.scores, store, "test", tasks_at_once=1, device=CPU).tolist() == [
        [4, 2, 4]
    ]


def test_every_training_pair_is_met_once_an_epoch_also_those_of_learners_without_episodes():
    store = small_store()
    batches = SessionBatches(store, 16)
    one = list(batches.pair_rows(generator(1, "test", 1)))
    assert sorted(np.concatenate(one)) == store.pairs_of("train").tolist()
    with_episodes = set(store.episodes["train"][:, 0])
    training = set(np.flatnonzero(store.learner_split == 0))
    assert with_episodes < training  # else the data do not show what the name says
    assert all(0 < len(rows) < 32 for rows in one)
    sizes = [len(rows) for rows in one]
    assert np.mean(sizes[:-1]) == pytest.approx(16, abs=2)


def test_updates_are_shuffled_and_follow_the_generator():
    batches = SessionBatches(small_store(), 16)
    one, again, other = (list(batches.pair_rows(generator(1, "test", n))) for n in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=False))


def test_a_session_lies_in_one_update_and_takes_one_row():
    store = small_store(episodes={"max_prefix_length": 50})
    place: dict[int, int] = {}
    for number, rows in enumerate(SessionBatches(store, 16).pair_rows(generator(1, "test"))):
        for session in store.pair_session[rows]:
            assert place.setdefault(int(session), number) == number
    for examples in SessionBatches(store, 16).examples(generator(1, "test")):
        sessions = (examples.position[0] == 0).sum()  # each session has one pair of prefix 1
        assert examples.courses.shape[1] == sessions


def test_a_session_longer_than_an_update_is_cut():
    courses = [1, 2] * 20
    store, _ = build_episodes(steps([(n, 0, courses) for n in range(10)]), params(**SMALL))
    updates = list(SessionBatches(store, 10).pair_rows(generator(1, "test")))
    assert max(map(len, updates)) < 20
    assert sorted(np.concatenate(updates)) == store.pairs_of("train").tolist()


def test_like_lengths_come_together():
    rng = np.random.default_rng(0)
    sessions = [(n, 0, [1, 2] * int(rng.integers(4, 20))) for n in range(400)]
    store, _ = build_episodes(
        steps(sessions),
        params(**{**SMALL, "episodes": {**SMALL["episodes"], "max_prefix_length": 50}}),
    )
    used, filled = 0, 0
    for examples in SessionBatches(store, 64).examples(generator(1, "test")):
        used += int((examples.courses != 0).sum())
        filled += examples.courses.numel()
    assert used / filled > 0.85


def test_gru_learns_a_rule_that_popularity_cannot():
    store = circular_store()
    lines: list[str] = []
    gru = GRUBaseline.train(store, params(**SMALL), CPU, lines.append)
    popularity = Popularity.train(store, params(**SMALL), CPU, lines.append)
    metrics = {
        name: summary(query_ranks(model.scores, store, "test", tasks_at_once=9, device=CPU))
        for name, model in (("gru", gru), ("popularity", popularity))
    }
    assert metrics["gru"]["HR@1"] == 1.0
    assert metrics["popularity"]["HR@1"] < 0.5
    assert [entry["epoch"] for entry in gru.history] == [1, 2, 3, 4, 5]
    assert gru.history[-1]["train_loss"] < gru.history[0]["train_loss"]
    assert len(lines) == 6


def test_shuffled_labels_teach_nothing():
    """The control: the same training on courses in random order is no better than chance."""
    store = circular_store()
    np.random.default_rng(1).shuffle(store.courses)
    gru = GRUBaseline.train(store, params(**SMALL), CPU, lambda _: None)
    ranks = query_ranks(gru.scores, store, "test", tasks_at_once=9, device=CPU)
    assert summary(ranks)["HR@1"] < 0.4


def test_the_best_epoch_is_kept_the_first_of_equals(monkeypatch):
    def weights(*validation: float) -> torch.Tensor:
        values = iter(validation)
        monkeypatch.setattr(sequence, "validator", lambda *_: lambda _: {"NDCG@10": next(values)})
        settings = params(**{**SMALL, "baselines": {"gru": {"epochs": len(validation)}}})
        return GRUBaseline.train(circular_store(), settings, CPU, print).model.head.weight

    assert torch.equal(weights(0.1, 0.5, 0.4, 0.5), weights(0.1, 0.5))
    assert not torch.equal(weights(0.1, 0.5), weights(0.1))


def test_training_follows_the_seed_alone():
    store = circular_store()
    settings = {
        **SMALL,
        "baselines": {"gru": {"epochs": 1}},
        "model": {**SMALL["model"], "dropout": 0.3},
    }
    torch.manual_seed(1)
    one = GRUBaseline.train(store, params(**settings), CPU, print)
    torch.manual_seed(2)
    two = GRUBaseline.train(store, params(**settings), CPU, print)
    other = GRUBaseline.train(store, params(**settings, seed=5), CPU, print)
    assert one.history == two.history != other.history
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_no_number_is_told():
    settings = params(**{**SMALL, "baselines": {"gru": {"epochs": 2}}})
    gru = settings.baselines.gru.model_copy(update={"learning_rate": 3e37})
    baselines = settings.baselines.model_copy(update={"gru": gru})
    settings = settings.model_copy(update={"baselines": baselines})
    with pytest.raises(UserError, match=r"lower baselines\.gru\.learning_rate"):
        GRUBaseline.train(circular_store(), settings, CPU, print)


SECTIONS = {"baselines": (BASELINES, BaselineParams), "composites": (COMPOSITES, CompositeParams)}


@pytest.mark.parametrize("package", SECTIONS)
def test_settings_name_the_models_that_there_are_and_each_has_its_two_files(package: str):
    table, section = SECTIONS[package]
    assert section.names() == tuple(table)
    files = {path.stem for path in (SOURCE / "settings" / package).glob("*.py")}
    assert files == {*table, "__init__"}
    for name, kind in table.items():
        assert kind.__module__ == f"mooc_maml.{package}.{name}"
        own = section.model_fields[name].annotation
        assert own.__module__ == f"mooc_maml.settings.{package}.{name}"
        assert kind.made_of == getattr(own, "made_of", ())


def test_every_model_says_what_it_is():
    for name, kind in MODELS.items():
        assert (kind.name, kind.ending[0], type(kind.reads_support)) == (name, ".", bool)
    labels = [kind.label for kind in MODELS.values()]
    assert len(set(labels)) == len(labels) == 18
    assert MODELS["gru_tuned_with_history"].label == "GRU, tuned, with history"


def test_a_model_stands_after_those_that_it_is_made_of():
    order = list(MODELS)
    made = {name: kind.made_of for name, kind in MODELS.items() if kind.made_of}
    assert {"blend", "gru_fine_tuned", "gru_further", "mixture_zero_shot"} == set(made)
    for name, parts in made.items():
        assert all(order.index(part) < order.index(name) for part in parts)


def test_only_those_named_are_trained_and_read(tmp_path: Path):
    store, names = circular_store(), ("markov", "gru", "popularity")
    settings = params(**{**SMALL, "baselines": {"gru": {"epochs": 1}, "models": names}})
    trained = dict(train_models(MODELS, names, store, settings, CPU, lambda _: None))
    assert list(trained) == ["popularity", "markov", "gru"]
    for model in trained.values():
        model.write(model_path(tmp_path, type(model)))
    assert list(read_models(tmp_path, tmp_path, names, 9, CPU)) == list(trained)
    with pytest.raises(UserError, match=r"v_sknn\.npz: no such file"):
        read_models(tmp_path, tmp_path, (*names, "v_sknn"), 9, CPU)


class Alphabet:
    """A baseline of a test: the first courses of the catalogue are the best."""

    name, label, ending = "alphabet", "In order of the catalogue", ".npz"
    made_of: ClassVar[tuple[str, ...]] = ()
    reads_support = False
    law = None

    def __init__(self, num_courses: int) -> None:
        self.num_courses = num_courses
        self.history: list[dict[str, Any]] = []

    @classmethod
    def train(cls, store, params, device, log, parts=NO_PARTS):
        return cls(store.num_courses)

    def scores(self, support, query):
        return -torch.arange(self.num_courses).expand(*query.label.shape, -1)

    def write(self, path: Path) -> None:
        write_arrays(path, self.num_courses)

    @classmethod
    def read(cls, path, num_courses, device, parts=NO_PARTS):
        read_arrays(path, num_courses, ())
        return cls(num_courses)


def test_a_new_baseline_is_a_class_and_a_line_in_the_table(tmp_path: Path, monkeypatch):
    """It is trained, kept, tested and read, and what is made of all the others takes it up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BASELINES, "alphabet", Alphabet)
    store, names = circular_store(), ("popularity", "alphabet", "gru")
    settings = params(**{**SMALL, "baselines": {"gru": {"epochs": 1}}})
    run = RunState("test", "settings", "code")
    metrics, _ = train_and_test(BASELINES, names, store, settings, CPU, run)
    assert list(metrics) == ["popularity", "gru", "alphabet"]
    labels = store.query("test", np.arange(len(store.episodes["test"]))).label.double()
    assert metrics["alphabet"]["MRR"] == pytest.approx(float((1 / labels).mean()))
    assert {path.name for path in run.kept.iterdir()} >= {"alphabet.npz", "gru.pth"}
    parts = read_models(run.kept, tmp_path, names, 9, CPU)
    assert list(parts) == list(metrics)
    pool = Pool.train(store, settings, CPU, lambda _: None, parts)
    assert list(pool.parts) == list(metrics)


def test_models_that_another_machine_has_kept_for_itself_are_missed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store, names = circular_store(), ("popularity", "markov")
    elsewhere = [{name: {} for name in names}, {name: [] for name in names}]
    monkeypatch.setattr(ProcessGroup, "gather", lambda self, own: [own, elsewhere])
    group, run = ProcessGroup(size=2), RunState("test", "settings", "code")
    with pytest.raises(UserError, match=r"(popularity|markov)\..*let all machines work in one"):
        train_and_test(BASELINES, names, store, params(), CPU, run, process_group=group)


class Stop(Exception):
    """In place of a kill."""


def stop_after(epoch: int):
    def log(line: str) -> None:
        if line.startswith(f"gru: epoch {epoch}/"):
            raise Stop

    return log


def same_weights(one: GRUBaseline, two: GRUBaseline) -> bool:
    pairs = zip(one.model.parameters(), two.model.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_training_taken_up_is_the_same_to_the_last_bit(tmp_path: Path, epoch):
    settings = params(**{**SMALL, "model": {**SMALL["model"], "dropout": 0.3}})
    store, lines = circular_store(), []
    whole = GRUBaseline.train(store, settings, CPU, print)
    for last in (1, epoch):  # stopped twice, the second time after a restart
        with pytest.raises(Stop):
            GRUBaseline.resume(store, settings, CPU, stop_after(last), SavedState(tmp_path))
        if epoch == 1:
            break
    again = GRUBaseline.resume(store, settings, CPU, lines.append, SavedState(tmp_path))
    assert lines[0] == f"gru: going on after epoch {epoch}"
    assert len(lines) == 1 + 5 - epoch
    assert again.history == whole.history
    assert same_weights(again, whole)


def number_of_updates(store: EpisodeStore) -> int:
    """In an epoch; for every order it is about the same, and for these sessions just the same."""
    return len(list(SessionBatches(store, 32).pair_rows(generator(1, "any"))))


def ask_to_stop(update: int, monkeypatch) -> None:
    """Press Ctrl-C, as it were, during update number `update`, counted over all epochs from 1."""
    plain, numbers = SessionBatches.examples, itertools.count(1)

    def examples(batches, rng, start=0):
        for batch in plain(batches, rng, start):
            if next(numbers) == update:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    monkeypatch.setattr(SessionBatches, "examples", examples)


def test_stopped_within_an_epoch_and_taken_up_it_is_the_same(tmp_path: Path, monkeypatch, capsys):
    settings = params(**{**SMALL, "model": {**SMALL["model"], "dropout": 0.3}})
    store, lines = circular_store(), []
    whole = GRUBaseline.train(store, settings, CPU, print)
    updates, handler = number_of_updates(store), signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        ask_to_stop(updates + 2, patch)
        with pytest.raises(SystemExit) as stop:
            GRUBaseline.resume(store, settings, CPU, print, SavedState(tmp_path))
    assert stop.value.code == 128 + signal.SIGINT
    done = "epoch 1, update 2 of the next"
    said = capsys.readouterr().err
    assert said == f"stopped after {done} of gru; the same command goes on from there\n"
    assert signal.getsignal(signal.SIGINT) is handler
    state = SavedState(tmp_path).load()
    again = GRUBaseline.resume(store, settings, CPU, lines.append, SavedState(tmp_path))
    assert lines[0] == f"gru: going on after {done}"
    assert again.history == whole.history
    assert same_weights(again, whole)
    for forgotten in ("updates", "loss", "pairs", "dropout"):  # the control: all of it matters
        fresh = {**state["within"], forgotten: vars(Within())[forgotten]}
        SavedState(tmp_path).save({**state, "within": fresh})
        other = GRUBaseline.resume(store, settings, CPU, print, SavedState(tmp_path))
        assert other.history != whole.history, forgotten


def test_ctrl_c_after_the_last_epoch_is_not_lost(tmp_path: Path, capsys):
    """Else the stage, and DVC after it, would go on as if nobody had pressed it."""
    settings, store = params(**SMALL), circular_store()
    whole = GRUBaseline.train(store, settings, CPU, print)

    def press(line: str) -> None:
        if line.startswith(
            f"gru: epoch {settings.baselines.gru.epochs}/"
        ):  # its state is saved then
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as stop:
        GRUBaseline.resume(store, settings, CPU, press, SavedState(tmp_path))
    assert stop.value.code == 128 + signal.SIGINT
    said = capsys.readouterr().err
    assert said == "stopped after the last step; the same command goes on from there\n"
    again = GRUBaseline.resume(store, settings, CPU, print, SavedState(tmp_path))
    assert again.history == whole.history
    assert same_weights(again, whole)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path):
    """After the last update of an epoch no loss would tell."""
    settings = params(**SMALL)
    training = GRUBaseline.training(circular_store(), settings, CPU)
    training.train_epoch()
    best = {name: weight.clone() for name, weight in training.best.items()}
    updates = number_of_updates(circular_store())

    def spoil() -> None:
        if training.within.updates == updates:
            with torch.no_grad():
                next(training.model.parameters()).mul_(math.nan)

    with pytest.raises(UserError, match=r"weights of baseline gru .* in epoch 2; lower baselines"):
        training.train_epoch(spoil)
    assert training.epoch == 1
    assert all(torch.equal(best[name], weight) for name, weight in training.best.items())
    with pytest.raises(UserError, match=r"weights of baseline gru"):
        SavedState(tmp_path).save(training.state())
    assert SavedState(tmp_path).load() is None


@pytest.mark.parametrize("part", ["weights", "optimiser", "best", "history"])
def test_every_part_of_the_saved_state_matters(tmp_path: Path, part, monkeypatch):
    """The control: with one part forgotten, weights or history are others."""
    quality = iter([0.1, 0.5, 0.2, 0.3, 0.4] * 3)  # the best epoch lies before the restart
    monkeypatch.setattr(sequence, "validator", lambda *_: lambda _: {"NDCG@10": next(quality)})
    store, settings = circular_store(), params(**SMALL)
    if part in ("weights", "optimiser"):  # they show in epochs after the restart
        quality = iter([0.1, 0.2, 0.3, 0.4, 0.5] * 3)
    whole = GRUBaseline.train(store, settings, CPU, print)
    saved = SavedState(tmp_path)
    with pytest.raises(Stop):
        GRUBaseline.resume(store, settings, CPU, stop_after(3), saved)
    state = saved.load()
    state[part] = GRUBaseline.training(store, settings, CPU).state()[part]
    saved.save(state)
    again = GRUBaseline.resume(store, settings, CPU, print, saved)
    assert not (same_weights(again, whole) and again.history == whole.history)


@pytest.mark.parametrize("name", MODELS)
def test_files(tmp_path: Path, name: str):
    kind = MODELS[name]
    store = circular_store()
    settings = params(**merged(SMALL, {"baselines": {"gru": {"epochs": 1}}}))
    # As many as a baseline of others may be made of; small models, each trained for an epoch.
    parts: dict[str, Baseline] = {}
    for part in ("markov", "v_sknn", "gru", "mixture"):
        if part != name:
            parts[part] = MODELS[part].train(store, settings, CPU, print, parts)
    baseline = kind.train(store, settings, CPU, print, parts)
    path = model_path(tmp_path, kind)
    with pytest.raises(UserError, match="no such file"):
        kind.read(path, 9, CPU, parts)
    baseline.write(path)
    support, query = store.support("test", np.arange(3)), store.query("test", np.arange(3))
    assert torch.equal(
        kind.read(path, 9, CPU, parts).scores(support, query), baseline.scores(support, query)
    )
    with pytest.raises(UserError, match=r"\b9\b.*the data have 10"):
        kind.read(path, 10, CPU, parts)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=path.name):
        kind.read(path, 9, CPU, parts)


def test_what_is_made_of_each_other_is_trained_by_one_process():
    assert shared_out(BASELINES, ["gru", "markov", "popularity"]) == [
        ["popularity"],
        ["markov"],
        ["gru"],
    ]
    names = ["mixture_zero_shot", "pool", "gru_fine_tuned", "mixture"]
    own = [["gru_fine_tuned"], ["pool"], ["mixture", "mixture_zero_shot"]]
    assert shared_out(COMPOSITES, names) == own
    made_of_two = {"a": (), "b": (), "c": ("a", "b"), "d": ("gru",)}
    table: Any = {name: SimpleNamespace(made_of=x) for name, x in made_of_two.items()}
    assert shared_out(table, "dcba") == [["a", "b", "c"], ["d"]]


def in_processes(stage: str, *paths: str) -> list[str]:
    """The lines of a stage that is run here with the settings of params.yaml."""
    command = [sys.executable, "-m", f"stages.{stage}", *(f"--{path}" for path in paths)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_stage_writes_models_and_metrics_twice_alike(tmp_path: Path, monkeypatch):
    store = circular_store()
    write_episodes(tmp_path / "episodes", store)
    models = {section: {"models": tuple(table)} for section, (table, _) in SECTIONS.items()}
    settings = params(**merged(SMALL, models), hardware=ALONE)
    episodes, folder = tmp_path / "episodes", Path("one")
    for module in (stage, train_composites):
        monkeypatch.setattr(module, "load_params", lambda _: settings)
    monkeypatch.chdir(tmp_path)
    stage.main(episodes=episodes, model=folder, results=Path("one.json"))
    made = {"model": Path("one_of_others"), "results": Path("one_of_others.json")}
    train_composites.main(episodes=episodes, baselines=folder, **made)
    # The second time in two processes, each with a thread, as the first time.
    content = settings.model_dump(mode="json")
    content["hardware"] |= {"threads": 2, "processes": 2}
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    lines = in_processes("train_baselines", "episodes=episodes", "model=two", "results=two.json")
    assert {line.split(":")[0] for line in lines} == set(BASELINES)
    lines = in_processes(
        *("train_composites", "episodes=episodes", "baselines=two"),
        *("model=two_of_others", "results=two_of_others.json"),
    )
    assert {"gru_fine_tuned", "pool of popularity", "mixture of popularity"} <= {
        re.split("[:,]", line)[0] for line in lines
    }
    for folder, table in (("one", BASELINES), ("one_of_others", COMPOSITES)):
        files = {path.name for path in (tmp_path / folder).iterdir()}
        assert files == {model_path(tmp_path, kind).name for kind in table.values()}
        for file in (f"{folder}.json", *(f"{folder}/{name}" for name in files)):
            same = tmp_path / file.replace("one", "two")
            assert (tmp_path / file).read_bytes() == same.read_bytes()
    results = json.loads((tmp_path / "one.json").read_text())
    of_others = json.loads((tmp_path / "one_of_others.json").read_text())
    tests = len(store.episodes["test"])
    for found in (results, of_others):
        assert (found["learners"], found["queries"]) == (tests, tests * 3)
        assert found["synthetic"] is True
    assert len(results["training"]["gru"]) == 5
    found = results["baselines"] | of_others["baselines"]
    for name, model in read_models(Path("one"), Path("one_of_others"), MODELS, 9, CPU).items():
        ranks = query_ranks(model.scores, store, "test", tasks_at_once=32, device=CPU)
        assert found[name] == pytest.approx(summary(ranks))
        if isinstance(model, FittedOnValidation):
            (entry,) = of_others["training"][name]
            assert model.left_out_validation == entry["left_out_validation"]


def test_stage_leaves_seen_courses_out_where_they_never_recur(tmp_path: Path, monkeypatch):
    """Everybody takes 1 to 9 in order: once all before are left out, popularity knows the next."""
    store = build_episodes(steps([(n, 0, range(1, 10)) for n in range(20)]), params(**SMALL))[0]
    write_episodes(tmp_path / "episodes", store)
    monkeypatch.chdir(tmp_path)
    found = {}
    for mode in ("keep", "auto"):
        settings = params(
            **{**SMALL, "baselines": {"gru": {"epochs": 1}, "models": ("popularity", "gru")}},
            hardware=ALONE,
            evaluation={"seen_courses": mode},
        )
        monkeypatch.setattr(stage, "load_params", lambda _, settings=settings: settings)
        made = {"model": tmp_path / mode, "results": tmp_path / f"{mode}.json"}
        stage.main(episodes=tmp_path / "episodes", **made)
        found[mode] = json.loads((tmp_path / f"{mode}.json").read_text())
    # Queries 7, 8, 9: eight courses tie for first; left out are 1 to 6, then 7, then 8.
    assert found["keep"]["baselines"]["popularity"]["MRR"] == pytest.approx(1 / 8)
    left = (1 / 3 + 1 / 2 + 1) / 3
    assert found["auto"]["baselines"]["popularity"]["MRR"] == pytest.approx(left)
    assert found["keep"]["seen_courses"] == {"prefix_left_out": False, "support_left_out": False}
    assert found["auto"]["seen_courses"]["support_left_out"] is True
    assert found["auto"]["seen_courses"]["by_learner"] == 0
