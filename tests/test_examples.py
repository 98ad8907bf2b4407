import torch
from meta_helpers import assemble, gru_weights, pairs_of

from mooc_maml.examples import groups_by_size
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.models.gru_learner import GRULearner

LONG = pairs_of([1, 2] * 20)  # 39 courses are read
SHORT = pairs_of([3, 4, 5])  # 2 courses are read
SUPPORT, QUERY = assemble([LONG, SHORT, LONG, SHORT]), assemble([SHORT, SHORT, LONG, SHORT])


def test_tasks_of_similar_size_stand_together() -> None:
    # courses read: 41, 4, 78, 4; below 24 counts as 24, and 41 <= 2 * 24 < 78
    assert groups_by_size(SUPPORT, QUERY, 32) == [[1, 3, 0], [2]]


def test_a_group_has_at_most_so_many_tasks() -> None:
    assert groups_by_size(SUPPORT, QUERY, 2) == [[1, 3], [0, 2]]


def test_take_keeps_the_examples_and_drops_padding() -> None:
    taken = SUPPORT.take([3, 1])
    assert taken.courses.tolist() == [[[3, 4]], [[3, 4]]]
    assert taken.label.tolist() == SUPPORT.label[[3, 1]].tolist()


def test_groups_add_up_to_the_whole() -> None:
    weights = gru_weights(9)
    learner = GRULearner(torch.device("cpu"), torch.float64)
    how = {"steps": 2, "inner_lr": 0.3, "second_order": True}
    losses, whole = meta_gradient(learner, weights, SUPPORT, QUERY, **how)
    groups = groups_by_size(SUPPORT, QUERY, 2)
    parts = [meta_gradient(learner, weights, SUPPORT.take(g), QUERY.take(g), **how) for g in groups]
    torch.testing.assert_close(
        torch.cat([x for x, _ in parts]), losses[[task for group in groups for task in group]]
    )
    for name, gradient in whole.items():
        torch.testing.assert_close(sum(g[name] for _, g in parts), gradient, rtol=1e-9, atol=1e-12)
