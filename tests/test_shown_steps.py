"""Every step that support pairs show, once."""

import torch
from episode_helpers import small_store
from meta_helpers import assemble, pairs_of
from numpy import arange

from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.shown_steps import shown_steps


def as_pairs(examples: Examples, task: int) -> list[tuple[list[int], int]]:
    """(prefix, label) of each real pair of a task."""
    rows, found = examples.courses[task].tolist(), []
    fields = (examples.row, examples.position, examples.label)
    for row, position, label in torch.stack([x[task] for x in fields], 1).tolist():
        if label:
            found.append((rows[row][: position + 1], label))
    return found


def test_prefixes_give_their_steps_and_pairs_stay() -> None:
    """The pair (1 2 3 -> 4) also shows 1 -> 2 and 1 2 -> 3."""
    support = assemble([[([1, 2, 3], 4), ([5], 6)], [([7, 6], 5)]])
    found = shown_steps(support)
    assert as_pairs(found, 0) == [([1], 2), ([1, 2], 3), ([1, 2, 3], 4), ([5], 6)]
    assert as_pairs(found, 1) == [([7], 6), ([7, 6], 5)]
    assert torch.equal(found.courses, support.courses)


def test_whole_sessions_of_pairs_stay_as_they_are() -> None:
    support = assemble([pairs_of([1, 2, 3, 1]), pairs_of([4, 5])])
    assert [as_pairs(shown_steps(support), i) for i in (0, 1)] == [
        pairs_of([1, 2, 3, 1]),
        pairs_of([4, 5]),
    ]


def test_the_label_of_a_pair_counts_before_its_row() -> None:
    """As in the control with shuffled labels."""
    support = assemble([pairs_of([1, 2, 3])])
    shuffled = support._replace(label=support.label.flip(1))
    assert as_pairs(shown_steps(shuffled), 0) == [([1], 3), ([1, 2], 2)]


def test_a_step_in_two_cut_rows_counts_once() -> None:
    """Steps 0 to 3 and 1 to 4 of one session, the second row's prefix cut by one."""
    support = assemble([[([1, 2, 3], 4), ([2, 3, 4], 5)]])
    support = support._replace(
        session=torch.zeros_like(support.session), offset=torch.tensor([[0, 1]])
    )
    found = as_pairs(shown_steps(support), 0)
    assert found == [([1], 2), ([1, 2], 3), ([1, 2, 3], 4), ([2, 3, 4], 5)]


def test_nothing_is_told_that_lies_behind_the_last_pair() -> None:
    whole = assemble([pairs_of([1, 2, 3, 4, 5])])
    assert as_pairs(shown_steps(whole.pairs(0, 2)), 0) == [([1], 2), ([1, 2], 3)]


def test_no_pairs_show_nothing() -> None:
    store = small_store()
    found = shown_steps(store.support("test", arange(2), 0))
    assert found.label.numel() == 0 or not found.label.any()
