"""What a model is adapted to: losses of one task as functions of (weights, examples)."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call

from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.inner import Weights

TaskLoss = Callable[[Weights, Examples], Tensor]


def recommender_loss(module: nn.Module) -> TaskLoss:
    """Cross-entropy of the next course, for `DenseLearner`.

    Args:
        module: called as module(courses [rows, time], row [pairs], position [pairs]), it returns
            scores [pairs, C], column j for course j + 1. Its own weights are not used.

    Returns:
        (weights by name, the examples of one task, without the leading axis) -> mean over the
        real pairs; 0 for a task without any.
    """

    def task_loss(weights: Weights, examples: Examples) -> Tensor:
        courses, row, position, label = examples[:4]
        scores: Tensor = functional_call(module, weights, (courses, row, position))
        target = (label - 1).clamp(min=0).unsqueeze(1)  # any course where there is no pair
        log_p = scores.log_softmax(1).gather(1, target).squeeze(1)  # [pairs]
        real = (label > 0).to(log_p.dtype)
        loss: Tensor = -(log_p * real).sum() / real.sum().clamp(min=1)
        return loss

    return task_loss
