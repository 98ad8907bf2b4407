"""The inner loop: a few gradient steps of every task's own weights on its support pairs.

Source: Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
Networks", ICML 2017, algorithm 1, lines 5 and 6. It exists once: training, validation, testing
and ablation all call `adapt`.

Two things vary with the model and are hidden behind `TaskModel`: how weights that differ from task
to task are held, and how gradients and Hessian-vector products are computed. `DenseTaskModel` does
both for any module; `GRUTaskModel` does them fast for the GRU. Which module it is, and how it is
built, read and written, says `Backbone`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor

Weights = dict[str, Tensor]
# Step sizes by parameter name, each a number or one for every value; parameters left out stay.
Rates = Mapping[str, Tensor]
# One number for all parameters and steps, or the rates of each step; the last serve later steps.
StepSizes = float | Sequence[Rates]


class TaskWeights(Protocol):
    """One vector in weight space for every task: fast weights, gradients, directions."""

    def plus(self, other: Any, scale: float) -> Self:
        """`self + scale * other`, task by task; neither is changed."""

    def towards(self, start: Any, share: float) -> Self:
        """Fast weights moved this share of the way back to `start`, what `initial` gave."""

    def scaled(self, rates: float | Rates) -> Self:
        """Each parameter's part times its rate; 0 for parameters that have none."""

    def rate_gradient(self, gradient: Any, rates: Rates) -> Weights:
        """What d/d rates of `self . (rates * gradient)` is, summed over tasks, by name."""

    def sum_over_tasks(self) -> Weights:
        """The sum over tasks as ordinary tensors, by parameter name."""


class Adaptable(Protocol):
    """A loss per task, with its gradient and Hessian, for weights that differ per task.

    It is all that the inner and the outer loop need. `examples` holds several tasks; every loss is
    the mean over a task's own examples.
    """

    def prepare(self, examples: Any, support: Any = None) -> Any:
        """What can be worked out once for all steps; every method below takes its result.

        `support`: the support pairs before them, if `examples` are query pairs.
        """

    def initial(self, weights: Weights, examples: Any) -> Any:
        """Fast weights that equal `weights` in each task of `examples`."""

    def gradient(self, fast: Any, examples: Any, keep: bool = True) -> tuple[Tensor, Any, Any]:
        """Losses [tasks], the gradient of each task's loss, and a tape for `hessian_product`.

        `keep`: False: there is no tape (None), and what it would hold need not stay in memory.
        """

    def hessian_product(self, tape: Any, direction: Any) -> Any:
        """The Hessian of each task's loss, where the tape was recorded, times a direction."""


class TaskModel(Adaptable, Protocol):
    """A recommender with weights of each task's own: what training, testing and ablation run."""

    @property
    def reads_support(self) -> bool:
        """Whether the support pairs are an input of the scores, apart from adaptation."""

    def prepare_scores(self, examples: Any, support: Any) -> Any:
        """What `scores` takes of pairs whose labels it may not know."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""

    def scores(self, fast: Any, examples: Any) -> Tensor:
        """Scores [tasks, pairs, C] of what `prepare_scores` gave; column j is course j + 1."""

    def relative_changes(self, weights: Weights, fast: Any) -> dict[str, Tensor]:
        """||theta' - theta|| / ||theta|| of every task, float64 [tasks], by layer of the model."""


class Step(NamedTuple):
    """One step of the inner loop: the weights before it, their gradient, its tape, its sizes."""

    fast: Any
    gradient: Any
    tape: Any
    rates: float | Rates


def adapt(
    task_model: Adaptable,
    weights: Weights,
    support: Any,
    steps: int,
    inner_lr: StepSizes,
    pull: float = 0.0,
    *,
    keep: bool = True,
) -> tuple[Any, list[Step]]:
    """Take `steps` steps of gradient descent on the support loss, in every task for itself.

    Args:
        support: prepared examples.
        pull: strength of a pull back to `weights` in each step, see `Proximal`; only with one
            number for all step sizes.
        keep: whether the steps are returned, to be differentiated; to adapt alone takes no tape.

    Returns:
        The adapted (fast) weights, and the steps, first to last, if they are kept.
    """
    start = fast = task_model.initial(weights, support)
    trajectory = []
    for number in range(steps):
        _, gradient, tape = task_model.gradient(fast, support, keep)
        rates = rates_of(inner_lr, number)
        if keep:
            trajectory.append(Step(fast, gradient, tape, rates))
        if isinstance(rates, float):
            kept = fast.towards(start, rates * pull) if pull else fast
            fast = kept.plus(gradient, -rates)
        else:
            fast = fast.plus(gradient.scaled(rates), -1.0)
    return fast, trajectory


def rates_of(inner_lr: StepSizes, step: int) -> float | Rates:
    """The step sizes of one step, counted from 0."""
    if isinstance(inner_lr, float | int):
        return float(inner_lr)
    return inner_lr[min(step, len(inner_lr) - 1)]
