"""The published behaviour of MAML on sine waves, in small."""

import math

import pytest
import torch

from experiments.sinusoid import NETS, draw_tasks, error_after, network, squared_error, train
from mooc_maml.common.randomness import torch_generator


def test_points_lie_on_the_waves_that_the_paper_draws() -> None:
    support, query = draw_tasks(500, 3, 4, torch_generator(1, "test-sinusoid"))
    assert support.x.shape == support.y.shape == (500, 3, 1)
    assert query.x.shape == (500, 4, 1)
    x, y = (torch.cat(both, 1).squeeze(2) for both in zip(support, query, strict=True))
    assert -5 <= x.min() < -4.9
    assert 4.9 < x.max() <= 5
    # A sin(x - phase) = a sin x + b cos x: two points give a and b, the other five must follow.
    basis = torch.stack([x.sin(), x.cos()], 2).double()
    fitted = torch.linalg.lstsq(basis, y.double().unsqueeze(2)).solution
    assert (basis @ fitted - y.unsqueeze(2)).abs().max() < 1e-4
    amplitude = fitted.squeeze(2).norm(dim=1)
    phase = torch.atan2(-fitted[:, 1, 0], fitted[:, 0, 0])
    assert 0.1 - 1e-3 <= amplitude.min() < 0.2
    assert 4.9 < amplitude.max() < 5 + 1e-3
    assert -1e-3 <= phase.min() < 0.1
    assert math.pi - 0.1 < phase.max() < math.pi + 1e-3


def test_the_paper_net() -> None:
    shapes = [tuple(x.shape) for x in network(torch_generator(1, "test-sinusoid")).parameters()]
    assert shapes == [(40, 1), (40,), (40, 40), (40,), (1, 40), (1,)]


@pytest.mark.thorough
def test_one_gradient_step_is_enough_if_meta_trained_for_it() -> None:
    how = {"shots": 10, "iterations": 600, "seed": 0, "meta_lr": 0.003}  # faster than the paper's
    net = network(torch_generator(0, "sinusoid-weights"))
    learner, start = squared_error(net), net.state_dict()
    errors = {}
    for name, inner_steps in NETS.items():
        weights = train(learner, start, inner_steps=inner_steps, **how)
        for steps in (0, 1, 5):
            errors[name, steps] = error_after(learner, weights, steps=steps, shots=10, seed=0)
    meta, joint = NETS
    assert errors[meta, 1] < 0.5 * errors[meta, 0]
    assert errors[meta, 1] < 0.6 * errors[joint, 1]
    assert errors[meta, 5] < errors[meta, 1]


def test_training_depends_on_the_seed_alone() -> None:
    net = network(torch_generator(0, "sinusoid-weights"))
    trained = [
        train(
            squared_error(net), net.state_dict(), inner_steps=1, shots=5, iterations=3, seed=seed
        )["0.weight"]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])
    assert trained[0].norm().item() != pytest.approx(net[0].weight.norm().item(), rel=1e-6)
