"""Ridge regression of the head as the inner loop: solved at once, without gradient steps.

Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable closed-form solvers", ICLR
2019. What is regressed on the support pairs' states h, by the kernel k(h, h') = h . h' + b, is what
the model still gets wrong there, one-hot target minus probabilities:

    A = (K + lambda I)^-1 (Y - P),    logits'(h) = logits(h) + scale sum_j k(h, h_j) A_j.

So without support pairs the model is the plain one, and a task's own head is the shared one plus a
sum of outer products, as after gradient steps. It is the posterior mean of a Gaussian process with
that kernel and noise lambda, or of a Bayesian linear head (Harrison, Sharma, Pavone, "Meta-learning
priors for efficient online Bayesian regression", 2018): b is the prior variance of a course's bias
by that of a weight. lambda, b and scale are meta-learned by their logarithms. K has a row a support
pair, or with `adapt_on: sessions` a step that they show.
"""

from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.inner import TaskModel, Weights
from mooc_maml.meta.variant import RIDGE, GradientVariant, model_weights

START = {"scale": 10.0, "lambda": 30.0, "bias": 100.0}


class ReadOut(NamedTuple):
    """What the head of a model meets on some pairs.

    Attributes:
        states: [tasks, pairs, H], what enters the head.
        logits: [tasks, pairs, C]; -inf for courses that no loss counts.
        target: int64 [tasks, pairs, 1], the column of the true course.
        real: bool [tasks, pairs], false for no pair.
        tape: for `Regressed.pulled_back`.
    """

    states: Tensor
    logits: Tensor
    target: Tensor
    real: Tensor
    tape: Any


class Regressed(TaskModel, Protocol):
    """A task model with a linear head."""

    def read_out(self, fast: Any, examples: Any) -> ReadOut:
        """States and logits of prepared pairs."""

    def pulled_back(self, tape: Any, d_states: Tensor, d_logits: Tensor) -> Any:
        """The gradient by all weights, from that by states and logits."""

    def with_head(self, fast: Any, inputs: Tensor, outputs: Tensor, bias: Tensor) -> Any:
        """Fast weights whose head has sum_j outputs_j inputs_j^T more, and a bias [tasks, C]."""

    def head_gradient(self, gradient: Any) -> tuple[Tensor, Tensor]:
        """Of a gradient: states u_i and d_i = dL/dlogits_i, sum_i d_i u_i^T that of the head."""


class Head(NamedTuple):
    """What a task's own head has more than the shared one; see `Regressed.with_head`."""

    inputs: Tensor
    outputs: Tensor
    bias: Tensor


def solved(states: Tensor, logits: Tensor, target: Tensor, real: Tensor, own: Weights) -> Head:
    """The regression of every task, by Cholesky's decomposition of K + lambda I.

    Args:
        states: [tasks, pairs, H].
        logits: [tasks, pairs, C].
        target: int64 [tasks, pairs, 1].
        real: bool [tasks, pairs]; the others have no part in it.
        own: logarithms of scale, lambda and bias, by `RIDGE`.
    """
    scale, noise, bias = (own[f"{RIDGE}.{name}"].exp() for name in START)
    there = real.to(states)[..., None]
    wrong = (one_hot(target[..., 0], logits.shape[2]) - logits.softmax(2)) * there
    kernel = (states @ states.mT + bias) * there * there.mT
    unit = torch.eye(kernel.shape[1], dtype=kernel.dtype, device=kernel.device)
    factor = torch.linalg.cholesky(kernel + noise * unit)
    outputs = scale * torch.cholesky_solve(wrong, factor)  # [tasks, pairs, C], 0 for no pair
    return Head(states, outputs, bias * outputs.sum(1))


class Ridge(GradientVariant):
    """See above; the number of inner steps has no effect, but that 0 is the plain model."""

    is_recorded = False

    part = "head"

    def learned(self, weights: Weights) -> Weights:
        """The logarithms of scale, lambda and bias."""
        any_weight = next(iter(weights.values()))
        return {f"{RIDGE}.{n}": any_weight.new_tensor(x).log() for n, x in START.items()}

    def adapt(
        self, task_model: TaskModel, meta: Weights, support: Examples, steps: int | None = None
    ) -> Any:
        """See `GradientVariant`."""
        model, prepared = cast(Regressed, task_model), task_model.prepare(self.shown(support))
        fast = model.initial(model_weights(meta), prepared)
        if steps == 0 or not support.label.shape[1]:
            return fast
        with torch.inference_mode():
            head = solved(*model.read_out(fast, prepared)[:4], meta)
        return model.with_head(fast, *head)

    def meta_gradient(
        self, task_model: TaskModel, meta: Weights, support: Examples, query: Examples, update: int
    ) -> tuple[Tensor, Weights]:
        """See `GradientVariant`.

        The query loss depends on the shared weights directly, and by the support's states and
        logits through the regression, which autograd goes back through. First-order leaves out the
        second.
        """
        model, prepared = cast(Regressed, task_model), task_model.prepare(self.shown(support))
        start = model.initial(model_weights(meta), prepared)
        met = model.read_out(start, prepared)
        own = {n: x.clone().requires_grad_() for n, x in meta.items() if n.startswith(RIDGE)}
        states, logits = (x.clone().requires_grad_() for x in (met.states, met.logits))
        head = solved(states, logits, met.target.clone(), met.real.clone(), own)
        fast = model.with_head(start, *(x.detach() for x in head))
        losses, gradient, _ = model.gradient(fast, model.prepare(query, support), keep=False)
        u, d = (x.clone() for x in model.head_gradient(gradient))
        reached = ((d @ head.outputs.mT) * (u @ head.inputs.mT)).sum() + (
            d.sum(1) * head.bias
        ).sum()
        d_states, d_logits, *d_own = torch.autograd.grad(reached, [states, logits, *own.values()])
        if self.params.use_second_order:
            gradient = gradient.plus(model.pulled_back(met.tape, d_states, d_logits), 1.0)
        return losses, gradient.sum_over_tasks() | dict(zip(own, d_own, strict=True))
