"""What all ways to adapt have in common: gradient steps of a learner's own weights.

A variant says what is learned besides the model's weights, how a learner's own weights come from
the support pairs, and the meta-gradient. All give fast weights of the same kind, so testing,
ablation and the parameter change are the same for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.shown_steps import adapted_on
from mooc_maml.meta.backbone import OUTPUT_BIAS
from mooc_maml.meta.inner import Rates, StepSizes, TaskModel, Weights, adapt
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.settings.params import Params

_RATE = "log_step_size"  # names of learned step sizes: log_step_size.<step>.<parameter>
RIDGE = "log_ridge"  # names of what the variant ridge learns: log_ridge.<what>


@dataclass(frozen=True)
class GradientVariant:
    """MAML: gradient steps of all weights, one step size (Finn et al., ICML 2017).

    With `use_second_order: false` it is first-order MAML; the other variants, but Reptile, which
    has no second order, are then first-order too.

    Attributes:
        params: the settings.
        parts: what the backbone names as parts of its weights, see `Backbone`.
        dense: whether the backbone keeps each task's weights whole, see `Backbone`.
        part: the one of them that the variant moves alone, and so needs; None: it moves them all.
        one_step_size: whether all weights must have the same step size.
        is_recorded: whether its meta-gradient is one that CUDA graphs are made of.
    """

    params: Params
    parts: Mapping[str, str] = field(default_factory=dict)
    dense: bool = False
    part: ClassVar[str | None] = None
    one_step_size: ClassVar[bool] = False
    is_recorded: ClassVar[bool] = True

    @property
    def one_task_alone(self) -> bool:
        """Whether the engine has to take every task for itself."""
        return False

    def learned(self, weights: Weights) -> Weights:
        """What is meta-learned besides the model's weights, as it starts, by name."""
        return {}

    def steps(self, support: Examples) -> int:
        """How many steps few-shot takes on these support pairs."""
        return self.params.num_inner_steps

    def inner_lr(self, meta: Weights, support: Examples) -> StepSizes:
        """The step sizes on these support pairs, given all that is meta-learned."""
        if self.params.inner_lr_bias is None:
            return self.params.inner_lr
        return [{name: x.new_tensor(self.rate(name)) for name, x in model_weights(meta).items()}]

    def rate(self, name: str) -> float:
        """The step size that the settings give a weight: the output bias may have its own."""
        own = self.params.inner_lr_bias
        return own if own is not None and name == self.parts[OUTPUT_BIAS] else self.params.inner_lr

    def shown(self, support: Examples) -> Examples:
        """What the steps go down the loss of, given the support pairs."""
        return adapted_on(support, self.params.meta.adapt_on)

    def adapt(
        self, task_model: TaskModel, meta: Weights, support: Examples, steps: int | None = None
    ) -> Any:
        """Every task's own weights after `steps` steps on its support pairs; None: few-shot's."""
        steps = self.steps(support) if steps is None else steps
        prepared, rates = task_model.prepare(self.shown(support)), self.inner_lr(meta, support)
        return adapt(task_model, model_weights(meta), prepared, steps, rates, keep=False)[0]

    def meta_gradient(
        self, task_model: TaskModel, meta: Weights, support: Examples, query: Examples, update: int
    ) -> tuple[Tensor, Weights]:
        """Query losses [tasks] and what meta-update number `update`, from 0, follows down.

        The second is summed over tasks, by name, for all that is meta-learned.
        """
        losses, gradient, rates = meta_gradient(
            task_model,
            model_weights(meta),
            self.shown(support),
            query,
            steps=self.steps(support),
            inner_lr=self.inner_lr(meta, support),
            second_order=self.params.use_second_order and self.is_second_order(update),
            step_weights=self.step_weights(update),
        )
        return losses, gradient | self.learned_gradient(rates, meta)

    def is_second_order(self, update: int) -> bool:
        """Whether this meta-update carries the gradient back through the inner steps exactly."""
        return True

    def step_weights(self, update: int) -> Sequence[float] | None:
        """Weights of the query losses after each inner step; None: the last one alone."""
        return None

    def learned_gradient(self, rates: list[Weights], meta: Weights) -> Weights:
        """The gradient of what `learned` lists, from that of the rates of each step."""
        return {}


def model_weights(meta: Weights) -> Weights:
    """Those of all that is meta-learned that are weights of the model."""
    return {n: x for n, x in meta.items() if not n.startswith((f"{_RATE}.", f"{RIDGE}."))}


def log_rates(rates: Sequence[Rates]) -> Weights:
    """Rates of each step -> their natural logarithms in one dictionary.

    Adam moves whatever it learns by about the outer step size an update. Of a rate from 0.1 to 10
    that is ten thousand updates of 0.001; of its logarithm as many as from 1 to 5.6, whatever the
    rate's size. A rate also stays above 0.
    """
    return {_name(i, n): x.log() for i, of_step in enumerate(rates) for n, x in of_step.items()}


def rates_by_step(meta: Weights) -> list[Rates]:
    """The rates whose logarithms `log_rates` put in one dictionary, by step."""
    steps: dict[int, Weights] = {}
    for name, x in meta.items():
        if name.startswith(f"{_RATE}."):
            step, parameter = name.removeprefix(f"{_RATE}.").split(".", 1)
            steps.setdefault(int(step), {})[parameter] = x.exp()
    return [steps[i] for i in sorted(steps)]


def log_gradient(rates: Sequence[Rates], gradient: Sequence[Rates]) -> Weights:
    """The gradient by the rates of each step -> by their logarithms: d log r = dr / r."""
    return {
        _name(i, name): x * of_step[name]
        for i, (of_step, own) in enumerate(zip(rates, gradient, strict=True))
        for name, x in own.items()
    }


def _name(step: int, parameter: str) -> str:
    return f"{_RATE}.{step}.{parameter}"
