"""The pointer that is mixed with the head: its law, and that its meta-gradient is exact."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from meta_helpers import Pair, Weights, assemble, gru_loss, gru_weights
from test_pointer import (
    COURSES,
    QUERY,
    TOLD_QUERY,
    batch,
    check_meta_gradient,
)
from torch import Tensor
from training_helpers import CPU, STORE, run, same_weights, tiny_trainer

from mooc_maml.meta.files import keep_model
from mooc_maml.meta.gru.copying import copied
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.model import read_meta_model
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter

START = {"pointer.bias": torch.tensor([0.4, -0.3, 0.8, -0.6, 0.5]).double()}


def law(weights: Weights, prefix: list[int], others: list[int]) -> Tensor:
    """p of every course, as it is written down, one course after the other."""
    plain = {name: x for name, x in weights.items() if name != "pointer.bias"}
    head = torch.stack([(-gru_loss(plain, [(prefix, c + 1)])).exp() for c in range(COURSES)])
    shown = [*prefix, *others]
    gate, own = weights["pointer.bias"][:2], weights["pointer.bias"][2:]
    scores = {}
    for course in set(shown):
        back = len(prefix) > 1 and course == prefix[-2] and course != prefix[-1]
        known = [math.log1p(shown.count(course)), float(course == prefix[-1]), float(back)]
        scores[course] = (own @ torch.tensor(known, dtype=torch.float64)).exp()
    total = sum(scores.values())
    drawn = torch.stack([scores.get(c + 1, torch.zeros(())) / total for c in range(COURSES)])
    g = (gate[0] + gate[1] * math.log1p(len(scores))).sigmoid()
    return (1 - g) * head + g * drawn


def loss_of(weights: Weights, pairs: list[Pair], told: list[list[int]]) -> Tensor:
    laws = [law(weights, prefix, other) for (prefix, _), other in zip(pairs, told, strict=True)]
    return -torch.stack(
        [p[label - 1].log() for p, (_, label) in zip(laws, pairs, strict=True)]
    ).mean()


def test_scores_are_the_logarithm_of_the_law() -> None:
    weights, learner = (
        gru_weights(COURSES) | START,
        GRUTaskModel(CPU, torch.float64, points="mixed"),
    )
    support, query = batch()
    prepared = learner.prepare(query, support)
    found = learner.scores(learner.initial(weights, prepared), prepared)
    for task in range(2):
        expected = law(weights, QUERY[task][0][0], TOLD_QUERY[task][0])
        assert float(expected.sum()) == pytest.approx(1)
        torch.testing.assert_close(found[task, 0].exp(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("rates", [True, False])
def test_the_meta_gradient_equals_plain_autograd(
    second_order: bool, alone: bool, rates: bool
) -> None:
    how = {"second_order": second_order, "alone": alone, "rates": rates}
    check_meta_gradient(loss_of, "mixed", START["pointer.bias"], **how)


def test_what_no_loss_counts_is_not_copied_and_a_pair_without_any_leaves_all_to_the_head() -> None:
    support, query = batch()
    out = torch.tensor([[[1, 2, 3, 5, 7]], [[0, 0, 0, 0, 4]]])
    found = copied(query, support, CPU, torch.float64, out)
    assert (found.column + 1)[found.pair == 0].tolist() == []
    assert (found.column + 1)[found.pair == 1].tolist() == [6]
    weights = START["pointer.bias"].expand(2, -1)
    scores = torch.arange(COURSES).double().expand(2, 1, -1)
    laws = found.laws(weights)
    assert torch.equal(laws.mixed(scores.clone())[0], scores[0].log_softmax(1))
    at = laws.at(scores.log_softmax(2)[:, 0, 0], torch.zeros(2, dtype=torch.int64))
    assert at.share[0] == 1
    assert at.gradient(torch.ones(2, 1).double())[0].tolist() == [0.0] * 5
    t_share, t_pointer = at.tangent(
        torch.ones(2).double(), torch.ones(2, 5).double(), torch.ones(2, 1)
    )
    assert (t_share[0], t_pointer[0].abs().sum()) == (0, 0)


def test_it_is_learned_kept_and_read(tmp_path: Any) -> None:
    trainer = tiny_trainer(meta={"pointer": 2.0, "pointer_mixes": True})
    assert trainer.weights["pointer.bias"].tolist() == [0, 0, 2, -2, 0]
    run(trainer, 3)
    assert trainer.weights["pointer.bias"].tolist() != [0, 0, 2, -2, 0]
    trainer.evaluate()
    keep_model(tmp_path, trainer)
    meta = read_meta_model(tmp_path, trainer.params, STORE.num_courses, NONE_LEFT_OUT)
    assert same_weights(meta.weights, trainer.best)
    support, query = STORE.support("test", np.arange(3)), STORE.query("test", np.arange(3))
    found = meta.scores()(support, query)
    torch.testing.assert_close(found.exp().sum(2), torch.ones(found.shape[:2]).double())
    assert not torch.equal(meta.scores(0)(support, query), meta.scores(0, True)(support, query))


def test_it_needs_a_pointer() -> None:
    trainer = tiny_trainer(meta={"pointer_mixes": True})
    assert "pointer.bias" not in trainer.weights


def test_pairs_of_the_helpers_tell_of_what_the_reference_is_told() -> None:
    """So that both see the same courses: of the first query pair 1 2 3 5 7."""
    support, query = batch()
    found = copied(query, support, CPU, torch.float64)
    assert (found.column + 1)[found.pair == 0].tolist() == [1, 2, 3, 5, 7]
    assert found.features[found.pair == 0][0].tolist() == pytest.approx([math.log(4), 1, 0])
    assert found.features[found.pair == 0][4].tolist() == pytest.approx([math.log(2), 0, 1])
    assert assemble(QUERY).label.tolist() == [[2], [6]]


@pytest.mark.parametrize("points", [None, "added", "mixed"])
def test_ranked_is_by_the_law_that_the_loss_is_of(points: str | None) -> None:
    seen = SeenFilter(prefix=True, support=True, recurrence=None)
    weights, (support, query) = gru_weights(COURSES), batch()
    if points is not None:
        weights |= START if points == "mixed" else {"pointer.bias": START["pointer.bias"][:3]}
    out = seen.courses(query, support)
    free = [[min({*range(1, COURSES + 1)} - set(own.tolist())) for own in task] for task in out]
    query = query._replace(label=torch.tensor(free).where(query.label > 0, 0))
    learner = GRUTaskModel(CPU, torch.float64, seen, points=points)
    prepared = learner.prepare(query, support)
    losses = learner.gradient(learner.initial(weights, prepared), prepared)[0]

    def score(told: Any, asked: Any) -> Tensor:
        ready = learner.prepare_scores(asked, told)
        return learner.scores(learner.initial(weights, ready), ready)

    scores, place = seen.without(score)(support, query), (query.label - 1).clamp(min=0)[..., None]
    own = -scores.log_softmax(2).gather(2, place)[..., 0].where(query.label > 0, 0.0)
    torch.testing.assert_close(own.sum(1) / (query.label > 0).sum(1), losses)
    unlabelled = query._replace(label=torch.zeros_like(query.label))
    torch.testing.assert_close(score(support, query), score(support, unlabelled))
    assert bool(score(support, query).isfinite().all())


def test_a_pointer_that_is_not_moved_has_changed_by_nothing() -> None:
    weights = gru_weights(COURSES) | START
    learner = GRUTaskModel(CPU, torch.float64, points="mixed")
    fast = learner.initial(weights, learner.prepare(batch()[0]))
    assert learner.relative_changes(weights, fast)["pointer"].tolist() == [0]
