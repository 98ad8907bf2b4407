"""Which scores are a law of the next course, and what it says of some courses."""

from typing import Literal

import torch
from torch import Tensor

# How scores become probabilities. A model whose scores only order courses has no law: None.
#   logits   by softmax: whatever goes down a cross-entropy; logarithms of probabilities too
#   shares   by their sum: counts, and probabilities themselves
Law = Literal["logits", "shares"]


def probabilities(scores: Tensor, courses: Tensor, law: Law) -> Tensor:
    """Probabilities of some courses; those of all courses add up to 1.

    Args:
        scores: float or integer [..., C]; column j is course j + 1. A course with -inf is left out
            and has no part in the law, as one whose score is not a number.
        courses: int64 [..., n], courses 1..C.
        law: what the scores are.

    Returns:
        float [..., n]; 0 where nothing is left.
    """
    if law == "shares":
        shares = scores.double().nan_to_num(0.0).clamp(min=0)
        least = torch.finfo(shares.dtype).tiny
        return shares.gather(-1, courses - 1) / shares.sum(-1, keepdim=True).clamp(min=least)
    logits = torch.where(scores.isnan(), -torch.inf, scores)
    whole = logits.logsumexp(-1, keepdim=True)
    return (logits.gather(-1, courses - 1) - whole).exp().nan_to_num(0.0)
