"""Examples of plain lists against those of a store that holds the same sessions."""

import numpy as np
import torch
from episode_helpers import small_store

from mooc_maml.episodes.sequences import from_sequences


def test_by_hand() -> None:
    first, second = from_sequences([[[3]], [[1, 2], [4, 5, 6, 7]]], 3, 2, 9)
    assert first.learners.tolist() == [0]
    assert first.support.label.shape == (1, 0)
    assert first.query.courses.tolist() == [[[3]]]
    assert second.learners.tolist() == [1]
    # pairs: 1>2, 4>5, 4 5>6, 5 6>7 (cut to 2); the latest three, and 6 7>?
    assert second.support.label.tolist() == [[5, 6, 7]]
    assert second.support.position.tolist() == [[0, 1, 1]]
    assert sorted(second.support.courses[0].tolist()) == [[4, 5], [5, 6]]
    assert second.query.courses.tolist() == [[[6, 7]]]
    assert second.query.position.tolist() == [[1]]
    assert second.query.label.tolist() == [[0]]
    assert second.query.offset.tolist() == [[2]]
    assert second.support.session[0, -1] == second.query.session[0, 0]


def test_the_same_as_the_store_makes() -> None:
    store = small_store()
    learners, support, query = [], [], []
    for learner in range(60):
        rows = range(store.learner_start[learner], store.learner_start[learner + 1])
        sessions = dict.fromkeys(store.pair_session[row] for row in rows)
        if len(rows) < 3:
            continue
        # the last pair of the learner is asked for, its course is not told
        told = [
            store.courses[store.session_start[own] : store.session_start[own + 1]].tolist()
            for own in sessions
        ]
        learners.append([*told[:-1], told[-1][: store.pair_position[rows[-1]]]])
        support.append(rows[-3:-1])
        query.append(rows[-1:])
    (found,) = from_sequences(learners, 2, store.max_prefix_length, store.num_courses)
    assert found.learners.tolist() == list(range(len(learners)))
    for own, rows in ((found.support, support), (found.query, query)):
        expected = store.batch(np.array(rows, dtype=np.int64))
        for name in ("courses", "row", "position", "offset"):
            assert torch.equal(getattr(own, name), getattr(expected, name)), name
    assert torch.equal(found.support.label, store.batch(np.array(support, dtype=np.int64)).label)
