"""The inner loop: a few gradient steps of every task's own weights on its support pairs.

Source: Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
Networks", ICML 2017, algorithm 1, lines 5 and 6. It exists once: training, validation, testing
and ablation all call `adapt`.

Two things vary with the model and are hidden behind `Learner`: how weights that differ from task
to task are held, and how gradients and Hessian-vector products are computed. `DenseLearner` does
both for any module; `GRULearner` does them fast for the GRU.
"""

from typing import Any, Protocol, Self

from torch import Tensor

Weights = dict[str, Tensor]


class TaskWeights(Protocol):
    """One vector in weight space for every task: fast weights, gradients, directions."""

    def plus(self, other: Any, scale: float) -> Self:
        """`self + scale * other`, task by task; neither is changed."""

    def sum_over_tasks(self) -> Weights:
        """The sum over tasks as ordinary tensors, by parameter name."""


class Learner(Protocol):
    """A loss per task, with its gradient and Hessian, for weights that differ per task.

    `examples` holds several tasks; every loss is the mean over a task's own examples.
    """

    def prepare(self, examples: Any) -> Any:
        """What can be worked out once for all steps; every method below takes its result."""

    def initial(self, weights: Weights, examples: Any) -> Any:
        """Fast weights that equal `weights` in each task of `examples`."""

    def gradient(self, fast: Any, examples: Any) -> tuple[Tensor, Any, Any]:
        """Losses [tasks], the gradient of each task's loss, and a tape for `hessian_product`."""

    def hessian_product(self, tape: Any, direction: Any) -> Any:
        """The Hessian of each task's loss, where the tape was recorded, times a direction."""


def adapt(
    learner: Learner, weights: Weights, support: Any, steps: int, inner_lr: float
) -> tuple[Any, list[Any]]:
    """Take `steps` steps of gradient descent on the support loss, in every task for itself.

    Args:
        support: prepared examples.

    Returns:
        The adapted (fast) weights, and the tape of each step, first to last.
    """
    fast = learner.initial(weights, support)
    tapes = []
    for _ in range(steps):
        _, gradient, tape = learner.gradient(fast, support)
        fast = fast.plus(gradient, -inner_lr)
        tapes.append(tape)
    return fast, tapes
