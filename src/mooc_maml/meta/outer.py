"""The outer loop's gradient: how the query loss after adaptation depends on the weights before.

One step is theta' = theta - A g(theta), A the step sizes: one number alpha, or a diagonal. Its
Jacobian is I - A H(theta). So by the chain rule the gradient v of the query loss is carried back
through the steps, last to first, by

    v <- v - H(theta_s) A v,

one Hessian-vector product a step. This is exact second-order MAML; no graph is built through the
inner loop, and what is kept grows with the number of steps by their tapes only. First-order MAML
is the same without the products. Where step sizes are learned, that of a parameter at step s has
the gradient -v g(theta_s), with v as it is just after that step.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from mooc_maml.meta.inner import Adaptable, StepSizes, Weights, adapt
from mooc_maml.meta.replay import Replays


class MetaGradient(NamedTuple):
    """What one meta-batch says; sums over its tasks, so that those of chunks add up.

    Attributes:
        losses: query loss of each task after the last step, [tasks].
        weights: gradient of the summed query loss, by parameter name.
        rates: the same with respect to the step sizes of each step, first to last, by parameter
            name; empty where there is one number for all.
    """

    losses: Tensor
    weights: Weights
    rates: list[Weights]


def meta_gradient(
    task_model: Adaptable,
    weights: Weights,
    support: Any,
    query: Any,
    *,
    steps: int,
    inner_lr: StepSizes,
    second_order: bool,
    step_weights: Sequence[float] | None = None,
) -> MetaGradient:
    """Query losses after adaptation, and the gradient of their sum.

    Args:
        task_model: with `replays`, the work on prepared examples is recorded and replayed.
        step_weights: weight of the query loss after each of the `steps` steps, in the sum that is
            differentiated; None: 1 for the last, 0 for the others.
    """
    along = None if step_weights is None else tuple(step_weights)
    of_prepared = partial(
        prepared_meta_gradient,
        task_model,
        steps=steps,
        second_order=second_order,
        step_weights=along,
    )
    prepared = task_model.prepare(support), task_model.prepare(query, support)
    replays: Replays | None = getattr(task_model, "replays", None)
    if replays is None:
        return of_prepared(weights, *prepared, inner_lr)
    key = steps, second_order, along
    found: MetaGradient = replays.run(key, of_prepared, weights, *prepared, inner_lr)
    return found


def prepared_meta_gradient(
    task_model: Adaptable,
    weights: Weights,
    support: Any,
    query: Any,
    inner_lr: StepSizes,
    *,
    steps: int,
    second_order: bool,
    step_weights: Sequence[float] | None = None,
) -> MetaGradient:
    """`meta_gradient` of prepared examples: what it does depends on no tensor's values."""
    fast, trajectory = adapt(task_model, weights, support, steps, inner_lr)
    losses, direction, _ = task_model.gradient(fast, query, keep=False)
    if step_weights is not None:
        direction = direction.scaled(float(step_weights[-1]))
    rates: list[Weights] = []
    while trajectory:  # a step's memory is free for the direction, which may grow, once it is used
        step = trajectory.pop()
        if isinstance(step.rates, float):
            if second_order:
                product = task_model.hessian_product(step.tape, direction)
                direction = direction.plus(product, -step.rates)
        else:
            rates.append(direction.rate_gradient(step.gradient, step.rates))
            if second_order:
                product = task_model.hessian_product(step.tape, direction.scaled(step.rates))
                direction = direction.plus(product, -1.0)
        if step_weights is not None and trajectory and step_weights[len(trajectory) - 1]:
            _, earlier, _ = task_model.gradient(step.fast, query, keep=False)
            direction = direction.plus(earlier, step_weights[len(trajectory) - 1])
    rates = [{name: -x for name, x in of_step.items()} for of_step in reversed(rates)]
    return MetaGradient(losses, direction.sum_over_tasks(), rates)
