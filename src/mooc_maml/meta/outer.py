"""The outer loop's gradient: how the query loss after adaptation depends on the weights before.

One step is theta' = theta - alpha g(theta), with Jacobian I - alpha H(theta). So by the chain
rule the gradient v of the query loss is carried back through the steps, last to first, by

    v <- v - alpha H(theta_s) v,

one Hessian-vector product a step. This is exact second-order MAML; no graph is built through the
inner loop, and what is kept grows with the number of steps by their tapes only. First-order MAML
is the same without the products.
"""

from typing import Any

from torch import Tensor

from mooc_maml.meta.inner import Learner, Weights, adapt


def meta_gradient(
    learner: Learner,
    weights: Weights,
    support: Any,
    query: Any,
    *,
    steps: int,
    inner_lr: float,
    second_order: bool,
) -> tuple[Tensor, Weights]:
    """Query losses after adaptation, and the gradient of their sum with respect to `weights`.

    Returns:
        Losses [tasks], and the gradient summed over tasks, by parameter name: sums of chunks of
        tasks add up to the sum of the whole meta-batch.
    """
    fast, tapes = adapt(learner, weights, learner.prepare(support), steps, inner_lr)
    losses, direction, _ = learner.gradient(fast, learner.prepare(query))
    if second_order:
        while tapes:  # a tape's memory is free for the direction, which may grow, once it is used
            direction = direction.plus(learner.hessian_product(tapes.pop(), direction), -inner_lr)
    return losses, direction.sum_over_tasks()
