import math

import ir_measures
import numpy as np
import pytest
import torch
from ir_measures import RR, Success, nDCG

from mooc_maml.ranking.metrics import METRICS, metrics, ranks


def test_rank_is_the_place_of_the_true_course():
    #          course:      1    2    3    4
    scores = torch.tensor([0.1, 0.9, 0.5, 0.3])
    labels = torch.tensor([2, 3, 4, 1])
    assert ranks(scores.expand(4, 4), labels).tolist() == [1, 2, 3, 4]


def test_ties_count_against_the_model():
    scores = torch.tensor([[0.5, 0.5, 0.1], [0.0, 0.0, 0.0], [0.5, 0.5, 0.9]])
    assert ranks(scores, torch.tensor([1, 2, 2])).tolist() == [2, 3, 3]


@pytest.mark.parametrize("label", [1, 2, 3])
def test_a_model_that_scores_all_alike_is_worst(label):
    assert ranks(torch.zeros(3), torch.tensor(label)).item() == 3


def test_not_a_number_counts_as_worst():
    nan, inf = math.nan, math.inf
    scores = torch.tensor([[nan, 0.2, -5.0], [nan, nan, nan], [nan, 1.0, -inf], [inf, 1.0, nan]])
    # 1: the true course has no score: last. 2: nobody has one: last. 3: -inf ties with nan: last.
    # 4: another course's nan does not help or hurt: only inf is above.
    assert ranks(scores, torch.tensor([1, 3, 3, 2])).tolist() == [3, 3, 3, 2]


def test_any_leading_shape():
    scores = torch.arange(24.0).view(2, 3, 4)  # ascending: course 4 is first, course 1 last
    labels = torch.tensor([[4, 3, 2], [1, 4, 4]])
    assert ranks(scores, labels).tolist() == [[1, 2, 3], [4, 1, 1]]
    assert ranks(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("label", [0, 5])
def test_a_label_outside_the_catalogue_is_refused(label):
    with pytest.raises(ValueError, match="expected courses 1 to 4"):
        ranks(torch.zeros(2, 4), torch.tensor([1, label]))


def test_metrics_by_hand():
    values = metrics(np.array([[1, 2, 5], [6, 10, 11]]))
    assert tuple(values) == METRICS
    assert values["HR@1"].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert values["HR@5"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert values["HR@10"].tolist() == [[1, 1, 1], [1, 1, 0]]
    # 1/log2(1+1) = 1, 1/log2(1+2) = 0.6309, 1/log2(6) = 0.3869, 1/log2(7) = 0.3562,
    # 1/log2(11) = 0.2891, and 0 beyond rank 10
    expected = [[1, 0.63093, 0.38685], [0.35621, 0.28906, 0]]
    np.testing.assert_allclose(values["NDCG@10"], expected, atol=1e-5)
    np.testing.assert_allclose(values["MRR"], [[1, 1 / 2, 1 / 5], [1 / 6, 1 / 10, 1 / 11]])


def test_ranks_and_metrics_are_those_of_ir_measures():
    """An outside library (trec_eval's own code) on random rankings without ties."""
    queries, courses, outside = 60, 40, [Success @ 1, Success @ 5, Success @ 10, nDCG @ 10, RR]
    rng = np.random.default_rng(5)
    scores = rng.permuted(np.tile(np.arange(courses), (queries, 1)), axis=1) / 7
    labels = rng.integers(1, courses + 1, queries)
    truth = {str(q): {str(label): 1} for q, label in enumerate(labels)}
    run = {
        str(q): {str(c + 1): float(score) for c, score in enumerate(row)}
        for q, row in enumerate(scores)
    }
    found = metrics(ranks(torch.from_numpy(scores), torch.from_numpy(labels)).numpy())
    names = dict(zip(map(str, outside), METRICS, strict=True))
    compared = 0
    for value in ir_measures.iter_calc(outside, truth, run):
        ours = found[names[str(value.measure)]][int(value.query_id)]
        assert ours == pytest.approx(value.value, abs=1e-6), (value, labels)
        compared += 1
    assert compared == queries * len(outside)
    assert 0 < found["HR@10"].mean() < 1
