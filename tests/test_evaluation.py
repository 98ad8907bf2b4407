import numpy as np
import pytest
import torch
from episode_helpers import small_store

from mooc_maml.episodes.examples import Examples
from mooc_maml.ranking.query_ranks import episode_groups, learner_metrics, query_ranks, summary
from mooc_maml.runtime.processes import ALONE, ProcessGroup

CPU = torch.device("cpu")


def oracle(support: Examples, query: Examples) -> torch.Tensor:
    """Knows the answer."""
    return torch.nn.functional.one_hot(query.label - 1, 12).float()


def test_oracle_is_first_and_its_opposite_last():
    store = small_store()
    for name in ("validation", "test", "ablation"):
        ranks = query_ranks(oracle, store, name, tasks_at_once=4, device=CPU)
        assert ranks.shape == (len(store.episodes[name]), 3)
        assert (ranks == 1).all()
    opposite = query_ranks(lambda s, q: -oracle(s, q), store, "test", tasks_at_once=4, device=CPU)
    assert (opposite == 12).all()

    def alike(support: Examples, query: Examples) -> torch.Tensor:
        return torch.zeros(*query.label.shape, 12)

    assert (query_ranks(alike, store, "test", tasks_at_once=4, device=CPU) == 12).all()


@pytest.mark.parametrize("tasks_at_once", [1, 3, 1000])
def test_chunks_change_nothing_and_keep_the_order(tasks_at_once):
    store = small_store()

    def by_course(support: Examples, query: Examples) -> torch.Tensor:
        assert support.label.shape == (len(query.label), 2)
        return -torch.arange(12.0).expand(*query.label.shape, 12)  # course c has rank c

    ranks = query_ranks(by_course, store, "train", tasks_at_once=tasks_at_once, device=CPU)
    every = np.arange(len(store.episodes["train"]))
    assert np.array_equal(ranks, store.query("train", every).label.numpy())


def test_support_size_is_passed_on():
    seen = set()

    def score(support: Examples, query: Examples) -> torch.Tensor:
        seen.add(support.label.shape[1])
        return oracle(support, query)

    store = small_store()
    for size in (1, 2, 4, None):
        query_ranks(score, store, "ablation", tasks_at_once=9, device=CPU, support_size=size)
    assert seen == {1, 2, 4}


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_the_groups_that_one_would_make(size: int):
    """A group is scored as a whole, so a model gives the same however many processes there are."""
    store = small_store()

    def groups(process_group: ProcessGroup) -> list[tuple[list[int], list[list[list[int]]]]]:
        found = episode_groups(store, "train", 4, process_group=process_group)
        return [(own.tolist(), query.courses.tolist()) for own, _, query in found]

    shares = [groups(ProcessGroup(rank, size)) for rank in range(size)]
    assert all(shares)
    assert sorted(x for own in shares for x in own) == sorted(groups(ALONE))


def test_summary_by_hand():
    # learner 0: ranks 1, 3; learner 1: ranks 12, 2
    ranks = np.array([[1, 3], [12, 2]])
    by_learner = learner_metrics(ranks)
    assert by_learner["HR@1"].tolist() == [1 / 2, 0]
    assert by_learner["HR@5"].tolist() == [1, 1 / 2]
    np.testing.assert_allclose(by_learner["MRR"], [(1 + 1 / 3) / 2, (1 / 12 + 1 / 2) / 2])
    # NDCG@10: 1/log2(2) = 1, 1/log2(4) = 0.5, beyond 10: 0, 1/log2(3) = 0.63093
    np.testing.assert_allclose(by_learner["NDCG@10"], [0.75, 0.315465], atol=1e-6)
    assert summary(ranks) == {name: pytest.approx(v.mean()) for name, v in by_learner.items()}
    assert summary(ranks)["HR@1"] == 0.25
