"""Ways to adapt a model to a learner, and to learn how: the table of `meta.variant`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.backbone import OUTPUT_BIAS, Backbone
from mooc_maml.meta.backbones import backbone_of
from mooc_maml.meta.inner import StepSizes, TaskModel, Weights, adapt
from mooc_maml.meta.ridge import Ridge
from mooc_maml.meta.variant import (
    GradientVariant,
    log_gradient,
    log_rates,
    model_weights,
    rates_by_step,
)
from mooc_maml.settings.meta import RELIABILITY_STEPS
from mooc_maml.settings.params import Params


class PartVariant(GradientVariant):
    """Gradient steps of one part of the weights; the rest is shared by all learners."""

    def inner_lr(self, meta: Weights, support: Examples) -> StepSizes:
        """Step sizes for the part, none for the rest."""
        assert self.part is not None
        begins = self.parts[self.part]
        chosen = [name for name in model_weights(meta) if name.startswith(begins)]
        return [{name: meta[name].new_tensor(self.rate(name)) for name in chosen}]


class ANIL(PartVariant):
    """The head alone (Raghu et al., "Rapid Learning or Feature Reuse?", ICLR 2020)."""

    part = "head"


class Context(PartVariant):
    """A vector that enters the state at every step alone.

    As the context parameters of CAVIA do (Zintgraf et al., ICML 2019), which start at 0 and act
    through a learned matrix; here the start is learned and there is no matrix.
    """

    part = "context"


@dataclass(frozen=True)
class MetaSGD(GradientVariant):
    """A learned step size for every single weight (Li et al., "Meta-SGD", 2017).

    Their logarithms are learned, see `log_rates`; the paper's can also become negative.
    """

    @property
    def one_task_alone(self) -> bool:
        """Where a task's weights are sums of outer products: times such rates they are none."""
        return not self.dense

    def learned(self, weights: Weights) -> Weights:
        """All step sizes start as the settings say."""
        return log_rates([{n: torch.full_like(x, self.rate(n)) for n, x in weights.items()}])

    def inner_lr(self, meta: Weights, support: Examples) -> StepSizes:
        """The same learned rates in every step."""
        return rates_by_step(meta)

    def learned_gradient(self, rates: list[Weights], meta: Weights) -> Weights:
        """The steps share their rates, so their gradients add up."""
        total = {name: sum_of([x[name] for x in rates]) for name in rates[0]}
        return log_gradient(rates_by_step(meta), [total])


@dataclass(frozen=True)
class MAMLPlusPlus(GradientVariant):
    """Antoniou, Edwards, Storkey, "How to train your MAML", ICLR 2019.

    A learned step size for each parameter tensor and step (its logarithm, see `log_rates`); the
    query loss after every inner step counts, at first all alike, later the last one; first-order
    at first, then second-order. The paper's batch normalisation has no place in this model.
    """

    def learned(self, weights: Weights) -> Weights:
        """All step sizes start as the settings say."""
        start = {name: x.new_tensor(self.rate(name)) for name, x in weights.items()}
        return log_rates([start] * self.params.num_inner_steps)

    def inner_lr(self, meta: Weights, support: Examples) -> StepSizes:
        """The learned rates of each step."""
        return rates_by_step(meta)

    def learned_gradient(self, rates: list[Weights], meta: Weights) -> Weights:
        """One for each step."""
        return log_gradient(rates_by_step(meta), rates)

    def is_second_order(self, update: int) -> bool:
        """After `meta.first_order_updates`."""
        return update >= self.params.meta.first_order_updates

    def step_weights(self, update: int) -> Sequence[float] | None:
        """From 1 / S each to the last alone, in `meta.multi_step_updates`; they add up to 1.

        As in the authors' code, an earlier step keeps at least 0.03 / S till then.
        """
        steps, over = self.params.num_inner_steps, self.params.meta.multi_step_updates
        if update >= over or steps == 1:
            return None
        early = max((1 - update / over) / steps, 0.03 / steps)
        return [early] * (steps - 1) + [1 - (steps - 1) * early]


@dataclass(frozen=True)
class Reptile(GradientVariant):
    """Move towards where gradient steps lead (Nichol, Achiam, Schulman, 2018).

    The steps are taken on all pairs of the task, support and query; (theta - theta') / alpha
    stands for a gradient, as the paper proposes for use with Adam; alpha is each weight's own.
    """

    is_recorded = False

    def meta_gradient(
        self, task_model: TaskModel, meta: Weights, support: Examples, query: Examples, update: int
    ) -> tuple[Tensor, Weights]:
        """The mean loss before the first step, and the sum of the gradients met on the way."""
        both = task_model.prepare(joined(self.shown(support), query))
        steps, rates = self.params.num_inner_steps, self.inner_lr(meta, support)
        _, trajectory = adapt(task_model, meta, both, steps, rates)
        losses, _, _ = task_model.gradient(trajectory[0].fast, both)
        met = [step.gradient.sum_over_tasks() for step in trajectory]
        return losses, {name: sum_of([gradient[name] for gradient in met]) for name in meta}


@dataclass(frozen=True)
class Proximal(GradientVariant):
    """MAML whose steps are pulled back to where they began.

    The inner problem, support loss + lambda/2 |theta' - theta|^2, is that of Rajeswaran, Finn,
    Kakade, Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019. They solve it to its end
    and differentiate the solution; here the gradient goes exactly through the steps taken.

    A step is d' = (1 - alpha lambda) d - alpha g(theta + d), where d is the difference from theta.
    So the gradient v of the query loss with respect to d goes back by

        v <- (1 - alpha lambda) v - alpha H v,

    and theta, on which each step depends through g alone, gets the last v and every -alpha H v.
    First-order, without H, what theta gets is the gradient after the last step, as in MAML.
    """

    is_recorded = False

    one_step_size = True

    def adapt(
        self, task_model: TaskModel, meta: Weights, support: Examples, steps: int | None = None
    ) -> Any:
        """See `GradientVariant`."""
        steps = self.steps(support) if steps is None else steps
        prepared, pull = task_model.prepare(self.shown(support)), self.params.meta.proximal
        return adapt(task_model, meta, prepared, steps, self.params.inner_lr, pull, keep=False)[0]

    def meta_gradient(
        self, task_model: TaskModel, meta: Weights, support: Examples, query: Examples, update: int
    ) -> tuple[Tensor, Weights]:
        """See `GradientVariant`."""
        params, prepared = self.params, task_model.prepare(self.shown(support))
        alpha, pull = params.inner_lr, params.meta.proximal
        fast, trajectory = adapt(task_model, meta, prepared, params.num_inner_steps, alpha, pull)
        losses, v, _ = task_model.gradient(fast, task_model.prepare(query, support), keep=False)
        total = v
        while trajectory and params.use_second_order:
            product = task_model.hessian_product(trajectory.pop().tape, v)
            total = total.plus(product, -alpha)
            v = v.scaled(1 - alpha * pull).plus(product, -alpha)
        return losses, total.sum_over_tasks()


@dataclass(frozen=True)
class Reliability(GradientVariant):
    """Steps by how much the support pairs' sessions tell: the study's SRS-adaptive MAML.

    The step size of a task is `inner_lr` times its SRS (`Examples.reliability`), its few-shot takes
    few steps where the SRS is high and more where it is low, and its query loss counts in
    proportion to the SRS. Other numbers of steps, as in the ablation, are taken as they are asked
    for.
    """

    @property
    def one_task_alone(self) -> bool:
        """Always: steps and their sizes are the task's own."""
        return True

    def steps(self, support: Examples) -> int:
        """3 from an SRS of 0.5 on, else 7."""
        few, many = RELIABILITY_STEPS
        return few if support.reliability.item() >= 0.5 else many

    def inner_lr(self, meta: Weights, support: Examples) -> StepSizes:
        """The step sizes times the task's SRS."""
        share, rates = support.reliability.item(), super().inner_lr(meta, support)
        if isinstance(rates, float):
            return rates * share
        return [{name: x * share for name, x in of_step.items()} for of_step in rates]

    def meta_gradient(
        self, task_model: TaskModel, meta: Weights, support: Examples, query: Examples, update: int
    ) -> tuple[Tensor, Weights]:
        """The query loss as it is, and its gradient times the task's SRS."""
        losses, gradient = super().meta_gradient(task_model, meta, support, query, update)
        share = support.reliability.item()
        return losses, {name: x * share for name, x in gradient.items()}


VARIANTS: dict[str, type[GradientVariant]] = {
    "maml": GradientVariant,
    "anil": ANIL,
    "context": Context,
    "meta_sgd": MetaSGD,
    "maml_plus_plus": MAMLPlusPlus,
    "reptile": Reptile,
    "proximal": Proximal,
    "reliability": Reliability,
    "ridge": Ridge,
}


def variant_of(params: Params) -> GradientVariant:
    """The variant that the settings name.

    Raises:
        UserError: it moves a part of the weights that the backbone does not have, or cannot have
            the step sizes that the settings say.
    """
    kind, backbone = VARIANTS[params.meta.variant], backbone_of(params)
    if not _fits(kind, backbone):
        fitting = [name for name, other in VARIANTS.items() if _fits(other, backbone)]
        raise UserError(
            f"meta.variant: found '{params.meta.variant}', which moves the {kind.part} alone, and "
            f"model.backbone {backbone.name} has no weights of that kind; allowed with it are "
            f"{', '.join(fitting)}"
        )
    if params.inner_lr_bias is not None:
        _check_bias_rate(kind, backbone, params)
    return kind(params, backbone.parts, backbone.dense)


def _check_bias_rate(kind: type[GradientVariant], backbone: Backbone, params: Params) -> None:
    reason = ""
    if OUTPUT_BIAS not in backbone.parts:
        reason = f"model.backbone {backbone.name}, which has no output bias,"
    elif kind.one_step_size:
        reason = f"meta.variant {params.meta.variant}, whose steps have one size,"
    if reason:
        raise UserError(
            f"inner_lr_bias: found {params.inner_lr_bias:g}; allowed with {reason} is null"
        )


def _fits(kind: type[GradientVariant], backbone: Backbone) -> bool:
    return kind.part is None or kind.part in backbone.parts


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """Their sum."""
    return torch.stack(list(tensors)).sum(0)


def joined(support: Examples, query: Examples) -> Examples:
    """All pairs of each task: the rows of the query behind those of the support."""
    time = max(support.courses.shape[2], query.courses.shape[2])
    courses = [pad(x.courses, (0, time - x.courses.shape[2])) for x in (support, query)]
    row = torch.cat([support.row, query.row + support.courses.shape[1]], 1)
    position, label, session, offset = (
        torch.cat([getattr(support, name), getattr(query, name)], 1)
        for name in ("position", "label", "session", "offset")
    )
    rows = torch.cat(courses, 1)
    return Examples(rows, row, position, label, support.reliability, session, offset)
