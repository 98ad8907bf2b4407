"""The benchmark of adaptation over seeds and positions, on small synthetic pairs."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from episode_helpers import params, random_sessions, small_experiment, steps, write_pairs
from pipeline_files import ROOT

from experiments import adaptation
from mooc_maml.common.errors import UserError
from mooc_maml.episodes.build import build_episodes
from mooc_maml.report.manifest import git_tree
from mooc_maml.settings.params import Params

TOLD = "mixture_without_steps_vs_mixture_zero_shot"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pairs and settings, which is the current one."""
    small_experiment(
        tmp_path,
        model={"embedding_dim": 8, "hidden_dim": 8},
        baselines={"gru": {"epochs": 1}},
        composites={"mixture": {"steps": 1, "updates": 2, "learners": 3, "learning_rate": 0.05}},
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *more: str) -> dict[str, Any]:
    given = ["--pairs=pairs", "--folder=models", "--json=found.json", "--seeds=1", "--models"]
    names = ["popularity", "repeat", "markov", "v_sknn", "gru", *adaptation.FITTED]
    monkeypatch.setattr(sys, "argv", ["adaptation", *given, *names, *more])
    adaptation.main()
    found: dict[str, Any] = json.loads(Path("found.json").read_text())
    return found


def test_every_seed_and_position_is_measured_and_a_second_run_trains_nothing(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(monkeypatch, "--seeds", "2")
    assert [(run["seed"], run["position"]) for run in whole["runs"]] == [
        (20260107 + seed, position) for seed in (0, 1) for position in ("last", "first")
    ]
    files = {path.relative_to(small / "models") for path in (small / "models").rglob("*.*")}
    assert Path("seed_1/gru.pth") in files
    assert Path("seed_1/first/mixture.npz") in files
    assert Path("seed_1/first/gru.pth") not in files
    for run_ in whole["runs"]:
        assert run_["strongest_baseline"] not in adaptation.OURS
        others = ("mixture_zero_shot", "pool", "gru", "gru_as_is")
        assert {f"mixture_vs_{name}" for name in others} <= set(run_["comparisons"])
        gain = {row["metric"]: row["difference"] for row in run_["comparisons"][TOLD]}
        told, zero = (run_["test"][name]["MRR"] for name in TOLD.split("_vs_"))
        assert gain["MRR"] == pytest.approx(told - zero)
        assert 0 < run_["queries_told_of_another_session"] < 1
    made = whole["made_from"]
    assert made["settings"]["baselines"]["models"][0] == "popularity"
    assert (made["settings"]["seed"], set(made["pairs"])) == (20260107, set(os.listdir("pairs")))
    assert whole["measured_by"]["src"] == git_tree(ROOT / "src")
    row = next(r for r in whole["rows"] if (r["position"], r["model"]) == ("first", "gru"))
    own = [r["test"]["gru"]["HR@10"] for r in whole["runs"] if r["position"] == "first"]
    assert row["HR@10"] == pytest.approx(sum(own) / 2)
    monkeypatch.setattr(adaptation.MODELS["gru"], "train", None)  # would fail if called
    assert run(monkeypatch, "--seeds", "2")["runs"] == whole["runs"]


def test_baselines_alone_have_the_figures_that_they_have_beside_the_mixture(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = run(monkeypatch)
    names = ["popularity", "markov", "gru", "gru_fine_tuned"]
    alone = run(monkeypatch, "--folder", "alone", "--models", *names)
    for own, whole in zip(alone["runs"], beside["runs"], strict=True):
        assert set(own["test"]) == {*names, "gru_as_is"}
        for part in ("test", "validation"):
            for name in ("popularity", "markov", "gru"):
                assert own[part][name] == whole[part][name]
        assert own["comparisons"] == {}
        best = max(names, key=lambda name: own["validation"][name]["NDCG@10"])
        assert own["strongest_baseline"] == best
    assert all(row["p_holm"] is None for row in alone["rows"])


def test_a_query_is_told_of_another_session_if_any_support_pair_is_of_one() -> None:
    sessions = [  # two support pairs, then three queries
        (0, 0, [1, 2, 3, 4, 5, 6]),  # all of one session
        (1, 0, [1, 2, 3]), (1, 100, [4, 5, 6, 7]),  # the support of the first alone
        (2, 0, [1, 2, 3, 4]), (2, 100, [5, 6, 7]),  # a query of the first, two of the second
    ]  # fmt: skip
    settings = params(
        episodes={"support_size": 2, "query_size": 3}, ablations={"support_sizes": [1, 2]}
    )
    others = [(3 + learner, *rest) for learner, *rest in random_sessions(40)]  # to be split
    store = build_episodes(steps([*sessions, *others]), settings)[0]
    opening = store.learner_start[:-1]

    def share(*learners: int) -> float:
        test = np.array([[learner, opening[learner]] for learner in learners])
        return adaptation.told_of_another_session(replace(store, episodes={"test": test}))

    assert (share(0), share(1), share(0, 1)) == (0, 1, 0.5)
    assert share(2) == pytest.approx(2 / 3)


def test_the_mixture_is_measured_with_its_zero_shot(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--models", "popularity", "gru", "mixture")
    assert "mixture_zero_shot cannot be left out" in capsys.readouterr().err


def test_split_and_training_are_drawn_apart(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 0 is the same in all, seed 1 differs from it in what is varied."""
    root, zero, one = 20260107, [], {}
    for vary, drawn in (
        ("both", (root + 1, root + 1)),
        ("split", (root, root + 1)),
        ("training", (root + 1, root)),
    ):
        runs = run(monkeypatch, "--folder", vary, "--vary", vary, "--seeds", "2")["runs"]
        assert {(own["seed"], own["split_seed"]) for own in runs[:2]} == {(root, root)}
        assert {(own["seed"], own["split_seed"]) for own in runs[2:]} == {drawn}
        zero.append([own["test"] for own in runs[:2]])
        one[vary] = [own["test"] for own in runs[2:]]
    assert zero[0] == zero[1] == zero[2]

    def of(model: str, runs: list[dict[str, Any]]) -> list[Any]:
        return [own[model] for own in runs]

    # The Markov chain draws nothing, so that it tells the split; the GRU draws its weights.
    assert of("markov", one["training"]) == of("markov", zero[0]) != of("markov", one["split"])
    assert of("markov", one["split"]) == of("markov", one["both"])
    assert of("gru", one["training"]) != of("gru", zero[0])
    last = run(monkeypatch, "--folder", "both", "--first-seed", "1")["runs"]
    assert [own["test"] for own in last] == one["both"]


@pytest.mark.parametrize("change", ["model", "pairs"])
def test_models_made_from_something_else_are_not_measured(
    small: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    run(monkeypatch)
    if change == "pairs":
        shutil.rmtree(small / "pairs")
        write_pairs(small / "pairs", steps(random_sessions(90)))
    else:
        text = (small / "params.yaml").read_text().replace("hidden_dim: 8", "hidden_dim: 16", 1)
        (small / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"made_from\.json: .* made with other {change} than"):
        run(monkeypatch)


def test_the_document_s_gru_is_trained_as_it_says(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def spy(name: str) -> Any:
        own = adaptation.MODELS[name].train

        def train(store: Any, params: Params, *rest: Any) -> Any:
            seen[name] = params.evaluation.seen_courses
            return own(store, params, *rest)

        return train

    for name in ("gru", "markov", "mixture"):
        monkeypatch.setattr(adaptation.MODELS[name], "train", spy(name))
    run(monkeypatch)
    assert seen == {"gru": "keep", "markov": "auto", "mixture": "auto"}
