"""The mixture's mathematics: scores from the weights of the parts, and the loss with derivatives.

The score of course c for a pair is s_c = sum_e w_e log p_ec with w = context . weight; the loss is
the cross-entropy of softmax(s), of a task the mean over its pairs. With d = softmax(s) less 1 at
the next course, dL/dw_e = sum_c d_c log p_ec, and dL/dweight is its outer product with the context.
For the Hessian's product with a direction v of w, d is replaced by p (s' - p . s'), where
p = softmax(s) and s' = sum_e v_e log p_e. It is written out since torch.func takes seven times as
long.
"""

from typing import Any, NamedTuple

from torch import Tensor

from mooc_maml.composites.features import Features
from mooc_maml.meta.dense import DenseWeights
from mooc_maml.meta.inner import Weights

_OUT = -1e9  # score of a course that the loss leaves out


def pooled(weight: Tensor, pairs: Features) -> Tensor:
    """Scores [..., pairs, C] from weights [..., 3, E] and features with the same leading axes."""
    return _of_courses(pairs.context @ weight, pairs)


def _of_courses(of_parts: Tensor, pairs: Features) -> Tensor:
    """Numbers of the parts [..., pairs, E] -> their sums by log p: [..., pairs, C]."""
    return (pairs.log_p @ of_parts[..., None]).squeeze(-1)


def _of_weights(of_courses: Tensor, pairs: Features) -> Tensor:
    """The transpose of both products, a mean over pairs: [..., pairs, C] -> [..., 3, E]."""
    of_parts = (of_courses[..., None, :] @ pairs.log_p).squeeze(-2)
    return pairs.context.mT @ of_parts / of_courses.shape[-2]


class Tape(NamedTuple):
    """What a Hessian-vector product needs: the pairs, and softmax(s), float [tasks, pairs, C]."""

    pairs: Features
    probability: Tensor


class PoolTaskModel:
    """The loss of each task's own weights, "weight": [tasks, 3, E]; see `Adaptable`."""

    def prepare(self, examples: Features, support: Any = None) -> Features:
        """Nothing to prepare."""
        return examples

    def initial(self, weights: Weights, examples: Features) -> DenseWeights:
        """The same weights for every task, without copying them."""
        weight = weights["weight"]
        return DenseWeights({"weight": weight.expand(len(examples.log_p), *weight.shape)})

    def gradient(
        self, fast: DenseWeights, examples: Features, keep: bool = True
    ) -> tuple[Tensor, DenseWeights, Tape]:
        """See `Adaptable`."""
        scores = pooled(fast.values["weight"], examples).masked_fill(examples.is_out, _OUT)
        log_p, target = scores.log_softmax(-1), examples.target[..., None]
        losses, probability = -log_p.gather(-1, target).mean((-2, -1)), log_p.exp()
        error = probability.scatter_add(-1, target, probability.new_full(target.shape, -1.0))
        gradient = DenseWeights({"weight": _of_weights(error, examples)})
        return losses, gradient, Tape(examples, probability)

    def hessian_product(self, tape: Tape, direction: DenseWeights) -> DenseWeights:
        """See `Adaptable`."""
        pairs, p = tape
        change = pooled(direction.values["weight"], pairs)
        change = p * (change - (p * change).sum(-1, keepdim=True))
        return DenseWeights({"weight": _of_weights(change, pairs)})
