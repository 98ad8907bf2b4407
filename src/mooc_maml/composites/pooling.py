"""The mixture's mathematics: scores and loss from the weights of the parts."""

from typing import Any

from torch import Tensor

from mooc_maml.meta.inner import Weights

_OUT = -1e9  # score of a course that the loss leaves out


def mixture_loss(weights: Weights, pairs: Any) -> Tensor:
    """Mean cross-entropy over the pairs of one task.

    Args:
        weights: "weight", float [3, E].
        pairs: `Features` of one task, without the leading axis.
    """
    log_p = pooled(weights["weight"], pairs)
    log_p = log_p.masked_fill(pairs[2], _OUT).log_softmax(-1)
    loss: Tensor = -log_p.gather(-1, pairs[3][..., None]).mean()
    return loss


def pooled(weight: Tensor, pairs: Any) -> Tensor:
    """Scores [..., pairs, C] from weights [..., 3, E] and features with the same leading axes."""
    log_p, context = pairs[0], pairs[1]
    scores: Tensor = (log_p @ (context @ weight)[..., None]).squeeze(-1)
    return scores
