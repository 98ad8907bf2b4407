"""Courses that cannot come again are left out of every loss: training, meta-training, adapting."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from episode_helpers import steps
from meta_helpers import Weights, assemble, by_autograd, gru_loss, gru_weights, left_out, pairs_of
from test_counting_baselines import store_of
from test_meta_exact import CASES, HOW, assert_exact
from torch.func import functional_call
from training_helpers import CPU, run, tiny_params

from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.gru_with_history import GRUWithHistory
from mooc_maml.baselines.sequence_training import SequenceTraining
from mooc_maml.baselines.session_batches import SessionBatches
from mooc_maml.common.randomness import torch_generator
from mooc_maml.composites.gru_fine_tuned import FineTunedGRU, Steps
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.model import read_meta_model
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.meta.stage import used_settings
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.models.gru import GRURecommender
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter, seen_filter

PREFIX, ALL = SeenFilter(True, False, None), SeenFilter(True, True, None)
AUTO: dict[str, Any] = {"evaluation": {"seen_courses": "auto"}}
COURSES = 7
# A place without a pair points at course 1, in its own row and as its label.
PADDED = [pairs_of([1, 4]), pairs_of([5, 2, 3])], [pairs_of([1, 2, 3]), pairs_of([1, 6])]
OWN_CASES = {**CASES, "padding after course 1": PADDED}
del OWN_CASES["prefixes cut at 50"]  # all courses but the label are left out, slowly


def enrolments() -> EpisodeStore:
    """No learner takes a course twice."""
    rng = np.random.default_rng(0)
    sessions = [
        (learner, 1000 * number, own[4 * number : 4 * number + 4])
        for learner in range(60)
        for own in [(rng.permutation(12) + 1).tolist()]
        for number in range(3)
    ]
    return build_episodes(steps(sessions, num_courses=12), tiny_params())[0]


STORE = enrolments()


@pytest.mark.parametrize("case", list(OWN_CASES))
@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("taken", [PREFIX, ALL])
def test_the_meta_gradient_equals_plain_autograd(
    case: str, second_order: bool, taken: SeenFilter
) -> None:
    support, query = OWN_CASES[case]
    pairs = zip(query, support, strict=True)
    own_query = [left_out(own, shown if taken.support else ()) for own, shown in pairs]
    how, weights = HOW | {"second_order": second_order}, gru_weights(COURSES)
    batch = [left_out(own) for own in support], own_query
    expected = by_autograd(gru_loss, weights, *batch, **how)
    learner = GRUTaskModel(CPU, torch.float64, taken)
    found = meta_gradient(learner, weights, assemble(support), assemble(query), **how)
    assert_exact(found[:2], expected, torch.float64)
    plain, _ = by_autograd(gru_loss, weights, support, query, **how)
    assert (plain - expected[0]).abs().min() > 1e-3, "leaving out shows in every task"


def test_nothing_is_laid_out_where_nothing_is_left_out() -> None:
    support = assemble(CASES["one session"][0])
    assert GRUTaskModel(CPU, torch.float64).prepare(support).left_out is None


def test_scores_are_given_to_every_course() -> None:
    """The ranking leaves out by itself, by pairs that may be others than those adapted on."""
    support, query = (assemble(tasks) for tasks in CASES["ragged sessions"])
    scores = []
    for taken in (ALL, NONE_LEFT_OUT):
        learner = GRUTaskModel(CPU, torch.float64, taken)
        fast = learner.initial(gru_weights(COURSES), learner.prepare(support))
        scores.append(learner.scores(fast, learner.prepare(query, support)))
    assert torch.equal(*scores)


# --- plain training -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("session", "taken", "expected"),
    [
        ([1, 2, 3], PREFIX, [4, 3]),  # of 5 courses all but 1, all but 1 and 2
        ([1, 2, 1], PREFIX, [4, 4]),  # the second 1 is a label and stays: all but 2
        ([1, 2, 3], NONE_LEFT_OUT, [5, 5]),
    ],
)
def test_a_baseline_that_knows_nothing_chooses_among_what_is_left(
    session: list[int], taken: SeenFilter, expected: list[int]
) -> None:
    """All scores are 0, so the loss of a pair is the logarithm of the number of courses."""
    model = GRURecommender(5, 2, 2)
    plan = GRUBaseline.plan(tiny_params())
    batches = SessionBatches(store_of([session]), 9)
    training = SequenceTraining(model, batches, plan, lambda: {"NDCG@10": 0}, taken)
    training.train_epoch()
    loss = training.history[0]["train_loss"]
    assert loss == pytest.approx(sum(map(log, expected)) / 2)


@pytest.mark.parametrize(("repeats", "expected"), [(False, True), (True, False)])
def test_of_a_history_only_what_no_later_session_repeats_is_left_out(
    repeats: bool, expected: bool
) -> None:
    """Each learner takes four courses a session, always the same four or always others."""
    sessions = [
        (learner, 1000 * n, [(0 if repeats else 4 * n) + i for i in (1, 2, 3, 4)])
        for learner in range(60)
        for n in range(3)
    ]
    store = build_episodes(steps(sessions, num_courses=12), tiny_params())[0]
    plain, told = (
        x.training(store, tiny_params(**AUTO), CPU) for x in (GRUBaseline, GRUWithHistory)
    )
    assert plain.seen.prefix
    assert told.seen.prefix == expected


# --- meta-training, adapting ----------------------------------------------------------------------


def test_meta_training_leaves_out_in_loss_and_validation() -> None:
    trainers = [MetaTrainer(STORE, tiny_params(**own), CPU) for own in ({}, AUTO)]
    as_is, auto = (run(trainer, 1) for trainer in trainers)
    assert auto.seen[:2] == (True, True)
    assert auto.progress.losses[0] < as_is.progress.losses[0], "fewer courses to choose from"
    for mode, inner in (("zero_shot", 0), ("few_shot", 2)):
        start = MetaTrainer(STORE, tiny_params(**AUTO), CPU)
        score = ALL.without(start.scores(start.weights, inner))
        ranks = query_ranks(score, STORE, "validation", tasks_at_once=3, device=CPU)
        assert auto.progress.validation[0][mode] == pytest.approx(summary(ranks))
        assert auto.progress.validation[0][mode] != as_is.progress.validation[0][mode]


def test_a_run_with_courses_left_out_is_another_run() -> None:
    assert used_settings(tiny_params()) != used_settings(tiny_params(**AUTO))


def by_hand(model: GRURecommender, task: int, rate: float) -> torch.Tensor:
    """Scores after two steps on the support pairs of one test learner, prefixes left out."""
    support, query = STORE.support("test", np.array([task])), STORE.query("test", np.array([task]))
    weights: Weights = {name: x.detach().requires_grad_() for name, x in model.named_parameters()}
    pairs = zip(support.row[0].tolist(), support.position[0].tolist(), strict=True)
    rows = support.courses[0].tolist()
    prefixes = [rows[row][: position + 1] for row, position in pairs]
    own = left_out(list(zip(prefixes, support.label[0].tolist(), strict=True)))
    for _ in range(2):
        slopes = torch.autograd.grad(gru_loss(weights, own), list(weights.values()))
        weights = {n: x - rate * g for (n, x), g in zip(weights.items(), slopes, strict=True)}
    read = query.courses[0], query.row[0], query.position[0]
    found: torch.Tensor = functional_call(model, weights, read)
    return found.detach()


def a_model() -> GRURecommender:
    return GRURecommender(12, 3, 4, generator=torch_generator(1, "test-taken-losses")).double()


def test_learners_adapt_on_the_loss_that_leaves_out(tmp_path: Any) -> None:
    """The baseline, before and after its file, and the meta-model alike."""
    model, test = a_model(), np.arange(3)
    gru = {"gru": GRUBaseline(model, [])}
    support, query = STORE.support("test", test), STORE.query("test", test)
    expected = torch.stack([by_hand(model, task, 0.3) for task in test])
    grid = {
        "gru_fine_tuned": {
            "rates": (0.3,),
            "steps": (2,),
            "bias_rates": (0.3,),
            "adapt_on": ("pairs",),
        }
    }
    tuned = FineTunedGRU.train(
        STORE, tiny_params(**AUTO, composites=grid), CPU, lambda _: None, gru
    )
    torch.testing.assert_close(tuned.scores(support, query), expected)
    tuned.write(tmp_path / "f.npz")
    again = FineTunedGRU.read(tmp_path / "f.npz", 12, CPU, gru)
    assert torch.equal(again.scores(support, query), tuned.scores(support, query))
    plain = FineTunedGRU(model, NONE_LEFT_OUT, Steps(0.3, 0.3, 2, "pairs"), []).scores(
        support, query
    )
    assert (plain - expected).abs().max() > 0.01

    settings = tiny_params(**AUTO, inner_lr=0.3)
    keep_model(tmp_path, MetaTrainer(STORE, settings, CPU, start=model))
    taken = seen_filter(STORE, settings)
    meta = read_meta_model(tmp_path, settings, 12, taken)
    torch.testing.assert_close(meta.scores(2)(support, query), expected)
    torch.use_deterministic_algorithms(False)
