"""Negative controls: what they corrupt, what they leave, and that they would notice a leak."""

import numpy as np
import pytest
import torch
from episode_helpers import small_store
from torch import Tensor

from mooc_maml.baselines.popularity import Popularity
from mooc_maml.baselines.repeat import Repeat
from mooc_maml.common.randomness import generator
from mooc_maml.composites.mixture import Mixture
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.prefixes import support_courses
from mooc_maml.evaluation.comparison import paired
from mooc_maml.evaluation.controls import (
    exchanged_supports,
    helps,
    mean_of,
    ranks_on_corrupted,
    shuffled_labels,
    told_of_others,
    without_steps,
)
from mooc_maml.ranking.query_ranks import learner_metrics, query_ranks
from mooc_maml.ranking.seen import TakenCourses

STORE = small_store()
ALL = np.arange(len(STORE.episodes["test"]))
CPU = torch.device("cpu")
AS_IS = TakenCourses(False, False, None)


def rng(index: int = 0) -> np.random.Generator:
    return generator(1, "test controls", index)


def corrupted(score, control, taken: TakenCourses = AS_IS):
    return ranks_on_corrupted(
        score, control(STORE, rng()), STORE, taken, tasks_at_once=3, device=CPU
    )


def test_shuffled_labels_are_the_learners_own_in_another_order() -> None:
    own = STORE.support("test", ALL)
    drawn = [shuffled_labels(STORE, rng(n))(ALL, own) for n in range(20)]
    for found in drawn:
        assert torch.equal(found.label.sort(1).values, own.label.sort(1).values)
        assert torch.equal(found.courses, own.courses)
    changed = torch.stack([(found.label != own.label).any(1) for found in drawn])
    several = (own.label != own.label[:, :1]).any(1)  # K = 2: half of the orders are another
    assert changed[:, several].double().mean() == pytest.approx(0.5, abs=0.15)
    assert not changed[:, ~several].any()


def test_every_learner_gives_its_supports_to_one_other() -> None:
    own = STORE.support("test", ALL)
    corrupt = exchanged_supports(STORE, rng())
    found = corrupt(ALL, own)
    assert sorted(map(tuple, found.label.tolist())) == sorted(map(tuple, own.label.tolist()))
    pairs = STORE.support_pairs("test", ALL)
    singly = [corrupt(np.array([i]), own.take([i])).label.tolist() for i in ALL]
    assert [row for (row,) in singly] == found.label.tolist(), "whatever the groups"
    assert len(pairs) > 3
    alike = {i for i in ALL if own.label[i].tolist() == found.label[i].tolist()}
    assert len(alike) < len(ALL) / 2


def scores_by_support(support: Examples, query: Examples) -> Tensor:
    """Ranks the courses of the support labels first."""
    found = torch.zeros(*query.label.shape, STORE.num_courses)
    task = torch.arange(len(support.label))[:, None]
    found.transpose(1, 2)[task, support.label - 1] = 1.0
    return found


def test_the_scorer_adapts_on_what_is_corrupted() -> None:
    control = exchanged_supports(STORE, rng())
    giver = control(ALL, STORE.support("test", ALL))
    query = STORE.query("test", ALL)
    found = corrupted(scores_by_support, exchanged_supports)
    hit = (query.label[:, :, None] == giver.label[:, None, :]).any(2)
    size = torch.tensor([len(set(row)) for row in giver.label.tolist()])
    assert torch.equal(torch.from_numpy(found <= size[:, None].numpy()), hit)


def test_courses_left_out_are_those_of_the_learner_itself() -> None:
    """Not the giver's, or the control would differ in more than what it adapts on."""

    def flat(support: Examples, query: Examples) -> Tensor:
        return torch.arange(1.0, STORE.num_courses + 1).expand(*query.label.shape, -1)

    out = TakenCourses(True, True, None)
    found = corrupted(flat, exchanged_supports, out)
    own = query_ranks(out.without(flat), STORE, "test", tasks_at_once=3, device=CPU)
    assert np.array_equal(found, own)
    taken = support_courses(STORE.support("test", ALL))
    assert (taken > 0).any()


def test_the_mixture_leaves_out_nothing_that_only_the_giver_has_taken() -> None:
    """A pool of popularity alone ranks alike whoever's pairs it is told."""
    popularity = Popularity(torch.arange(1.0, STORE.num_courses + 1))
    weights = {"weight": torch.zeros(3, 2), "log_rate": torch.full((3, 2), -3.0)}
    weights["weight"][0, 0] = 1.0
    out = TakenCourses(True, True, None)
    mixture = Mixture({"popularity": popularity}, out, weights, 0, STORE.num_courses, [])
    own = query_ranks(out.without(mixture.scores), STORE, "test", tasks_at_once=3, device=CPU)
    assert np.array_equal(corrupted(told_of_others(mixture), exchanged_supports, out), own)
    assert not np.array_equal(corrupted(mixture.scores, exchanged_supports, out), own)


def test_without_steps_the_mixture_is_told_and_keeps_its_weights() -> None:
    repeat = Repeat(np.full(STORE.num_courses, 1 / STORE.num_courses), True, CPU)
    weights = {"weight": torch.ones(3, 2), "log_rate": torch.full((3, 2), -1.0)}
    mixture = Mixture({"repeat": repeat}, AS_IS, weights, 2, STORE.num_courses, [])
    support, query = STORE.support("test", ALL), STORE.query("test", ALL)
    still = without_steps(mixture)(support, query)
    assert not torch.equal(still, mixture.scores(support, query))
    other = STORE.support("test", ALL[::-1].copy())
    assert not torch.equal(still, without_steps(mixture)(other, query))
    mixture.steps = 0
    assert torch.equal(still, mixture.scores(support, query))


def test_a_scorer_that_does_not_adapt_scores_alike_on_any_support() -> None:
    def frequent(support: Examples, query: Examples) -> Tensor:
        return -torch.arange(1.0, STORE.num_courses + 1).expand(*query.label.shape, -1)

    own = query_ranks(frequent, STORE, "test", tasks_at_once=3, device=CPU)
    for control in (shuffled_labels, exchanged_supports):
        assert np.array_equal(corrupted(frequent, control), own)


def test_a_control_that_helps_is_noticed() -> None:
    """As it would be if adaptation mended the model and did not fit it to the learner."""
    bad, good = np.full((30, 3), 9), np.full((30, 3), 9)
    good[:, 0] = 1
    zero, control = learner_metrics(bad), learner_metrics(good)
    assert helps(paired(control, zero, 1), "HR@1")
    assert not helps(paired(zero, control, 1), "HR@1")
    assert not helps(paired(zero, zero, 1), "HR@1")
    good[1:, 0] = 9  # one learner of 30 proves nothing
    assert not helps(paired(learner_metrics(good), zero, 1), "HR@1")


def test_repeats_are_averaged_learner_by_learner() -> None:
    repeats = [{"MRR": np.array([0.1, 0.5])}, {"MRR": np.array([0.3, 0.5])}]
    assert mean_of(repeats)["MRR"].tolist() == pytest.approx([0.2, 0.5])
