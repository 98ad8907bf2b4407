import torch
from meta_helpers import assemble, gru_weights, pairs_of

from mooc_maml.episodes.examples import costs, courses_read, groups_by_size
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.outer import meta_gradient

LONG = pairs_of([1, 2] * 14)  # 27 courses are read
SHORT = pairs_of([3, 4, 5])  # 2 courses are read
HUGE = pairs_of([5, 6, 7] * 17)  # 50 courses are read
SUPPORT, QUERY = assemble([LONG, SHORT, LONG, SHORT]), assemble([SHORT, SHORT, LONG, SHORT])


def test_tasks_of_similar_size_stand_together() -> None:
    # courses read: 29, 4, 54, 4; below 16 counts as 16, and 29 <= 2 * 16 < 54
    assert groups_by_size(SUPPORT, QUERY, [0, 1, 2, 3], 32) == [[1, 3, 0], [2]]


def test_a_group_has_at_most_so_many_tasks() -> None:
    assert groups_by_size(SUPPORT, QUERY, [3, 2, 1, 0], 2) == [[1, 3], [0, 2]]


def test_only_the_tasks_asked_for() -> None:
    assert courses_read(SUPPORT, QUERY).tolist() == [29, 4, 54, 4]
    assert groups_by_size(SUPPORT, QUERY, [2, 3], 32) == [[3], [2]]
    assert groups_by_size(SUPPORT, QUERY, [], 32) == []


def test_costs_grow_with_the_courses_read() -> None:
    assert costs(SUPPORT, QUERY) == [29, 16, 100 + 30 * (54 - 50) / 50, 16]


def test_a_very_long_learner_stands_alone() -> None:
    support = assemble([HUGE, HUGE, LONG])
    query = assemble([HUGE, HUGE + SHORT, HUGE])  # 100, 102 and 77 courses are read
    assert groups_by_size(support, query, [0, 1, 2], 32) == [[2, 0], [1]]


def test_take_keeps_the_examples_and_drops_padding() -> None:
    taken = SUPPORT.take([3, 1])
    assert taken.courses.tolist() == [[[3, 4]], [[3, 4]]]
    assert taken.label.tolist() == SUPPORT.label[[3, 1]].tolist()


def test_groups_add_up_to_the_whole() -> None:
    weights = gru_weights(9)
    learner = GRUTaskModel(torch.device("cpu"), torch.float64)
    how = {"steps": 2, "inner_lr": 0.3, "second_order": True}
    losses, whole, _ = meta_gradient(learner, weights, SUPPORT, QUERY, **how)
    groups = groups_by_size(SUPPORT, QUERY, [3, 2, 1, 0], 2)
    parts = [meta_gradient(learner, weights, SUPPORT.take(g), QUERY.take(g), **how) for g in groups]
    torch.testing.assert_close(
        torch.cat([part.losses for part in parts]),
        losses[[task for group in groups for task in group]],
    )
    for name, gradient in whole.items():
        torch.testing.assert_close(
            sum(part.weights[name] for part in parts), gradient, rtol=1e-9, atol=1e-12
        )
