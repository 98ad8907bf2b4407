"""Rank of the true course among all courses, and the metrics made of it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

METRICS = ("HR@1", "HR@5", "HR@10", "NDCG@10", "MRR")


def ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """Rank of the true course among all courses; ties count against the model.

    rank = 1 + number of other courses with a score at least as high. A score that is not a number
    counts as worst: the true course with such a score ranks last.

    Args:
        scores: float or integer [..., C]; column j is course j + 1.
        labels: int64 [...], the true course 1..C.

    Returns:
        int64 [...], 1 = best, C = worst.

    Raises:
        ValueError: a label is outside 1..C.
    """
    if labels.numel() and not 1 <= int(labels.min()) <= int(labels.max()) <= scores.shape[-1]:
        raise ValueError(
            f"labels from {int(labels.min())} to {int(labels.max())}, "
            f"expected courses 1 to {scores.shape[-1]}"
        )
    if scores.is_floating_point():
        scores = torch.where(scores.isnan(), -torch.inf, scores)
    true = scores.gather(-1, labels[..., None] - 1)  # [..., 1]
    return (scores >= true).sum(-1)  # the true course itself is the 1


def metrics(ranks: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Metrics of each query, of the shape of `ranks`.

    HR@k = 1 if rank <= k; NDCG@10 = 1 / log2(1 + rank) if rank <= 10 (one relevant course, so the
    ideal gain is 1); MRR = 1 / rank (Järvelin and Kekäläinen 2002; Voorhees 1999).
    """
    rank = np.asarray(ranks, dtype=np.float64)
    hits = {f"HR@{k}": (rank <= k).astype(np.float64) for k in (1, 5, 10)}
    return {**hits, "NDCG@10": np.where(rank <= 10, 1 / np.log2(1 + rank), 0.0), "MRR": 1 / rank}
