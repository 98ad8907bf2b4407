"""The sinusoid task of the MAML paper, by the same engine as the recommender.

    python -m experiments.sinusoid --json results/sinusoid.json

Source: Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
ICML 2017, section 5.1: y = A sin(x - phase), A in [0.1, 5], phase in [0, pi], x in [-5, 5]; a net
1-40-40-1 with ReLU; one inner step of 0.01 on K points; Adam; meta-batches of 25. Published
behaviour (figures 2 and 3): one gradient step on K points brings the meta-trained net's error far
down, and further steps a little further; a net pretrained on all tasks gains little from one step.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from experiments.command_line import add_json, add_threads, at_least, new_parser
from mooc_maml.common.errors import main_guard
from mooc_maml.common.randomness import torch_generator
from mooc_maml.meta.dense import DenseTaskModel
from mooc_maml.meta.inner import Weights, adapt
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.report.measured import Row, machine, report

INNER_LR, META_LR, META_BATCH = 0.01, 0.001, 25
COLUMNS = ("net", "shots", "iterations", "gradient_steps", "mse")
NETS = {"meta-trained": 1, "pretrained on all tasks": 0}  # inner steps in training


class Points(NamedTuple):
    """Points of several sine waves: x, y float [tasks, k, 1]."""

    x: Tensor
    y: Tensor


def draw_tasks(
    tasks: int, shots: int, queries: int, drawn: torch.Generator
) -> tuple[Points, Points]:
    """Support and query points of fresh sine waves, so many of each for every wave."""
    amplitude = _uniform((tasks, 1, 1), 0.1, 5.0, drawn)
    phase = _uniform((tasks, 1, 1), 0.0, math.pi, drawn)
    x = _uniform((tasks, shots + queries, 1), -5.0, 5.0, drawn)
    y = amplitude * torch.sin(x - phase)
    return Points(x[:, :shots], y[:, :shots]), Points(x[:, shots:], y[:, shots:])


def _uniform(shape: tuple[int, ...], low: float, high: float, drawn: torch.Generator) -> Tensor:
    return torch.empty(shape).uniform_(low, high, generator=drawn)


def network(drawn: torch.Generator) -> nn.Module:
    """The paper's net, with torch's usual distributions for its weights."""
    net = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    for layer in net:
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            for weight in layer.parameters():
                nn.init.uniform_(weight, -bound, bound, generator=drawn)
    return net


def squared_error(net: nn.Module) -> DenseTaskModel:
    """All that the engine needs to know of this problem."""

    def task_loss(weights: Weights, points: Points) -> Tensor:
        predicted: Tensor = functional_call(net, weights, (points.x,))
        return (predicted - points.y).square().mean()

    return DenseTaskModel(task_loss)


def train(
    learner: DenseTaskModel,
    weights: Weights,
    *,
    inner_steps: int,
    shots: int,
    iterations: int,
    seed: int,
    meta_lr: float = META_LR,
) -> Weights:
    """Meta-train with Adam; with 0 inner steps that is pretraining on all tasks together."""
    weights = {name: x.detach().clone() for name, x in weights.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=meta_lr)
    drawn = torch_generator(seed, "sinusoid-training")
    for _ in range(iterations):
        _, gradient, _ = meta_gradient(
            learner,
            weights,
            *draw_tasks(META_BATCH, shots, shots, drawn),
            steps=inner_steps,
            inner_lr=INNER_LR,
            second_order=True,
        )
        for name, x in weights.items():
            x.grad = gradient[name] / META_BATCH
        optimizer.step()
    return weights


def error_after(
    learner: DenseTaskModel,
    weights: Weights,
    *,
    steps: int,
    shots: int,
    seed: int,
    tasks: int = 600,
) -> float:
    """Mean squared error on new waves, at 100 points other than the `shots` adapted to."""
    drawn = torch_generator(seed, "sinusoid-test")
    support, query = draw_tasks(tasks, shots, 100, drawn)
    fast, _ = adapt(learner, weights, support, steps, INNER_LR)
    return float(learner.gradient(fast, query)[0].mean())


def rows_of(shots: int, iterations: int, seed: int) -> list[Row]:
    """Train each net and measure its error after 0, 1, 5 and 10 gradient steps."""
    net = network(torch_generator(seed, "sinusoid-weights"))
    learner, start = squared_error(net), net.state_dict()
    rows = []
    for name, inner_steps in NETS.items():
        weights = train(
            learner, start, inner_steps=inner_steps, shots=shots, iterations=iterations, seed=seed
        )
        for steps in (0, 1, 5, 10):
            error = error_after(learner, weights, steps=steps, shots=shots, seed=seed)
            values = (name, shots, iterations, steps, error)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def main() -> None:
    """Train, print the table and write it."""
    parser = new_parser(__doc__)
    parser.add_argument("--shots", type=at_least(1), nargs="+", default=[5, 10], help="K")
    parser.add_argument(
        "--iterations", type=at_least(1), default=10_000, help="meta-updates; the paper: 70000"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of weights and waves")
    add_threads(parser)
    add_json(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [
        row for k in arguments.shots for row in rows_of(k, arguments.iterations, arguments.seed)
    ]
    report(rows, COLUMNS, machine(arguments.threads, torch.device("cpu")), arguments.json)


if __name__ == "__main__":
    main_guard(main)
