from pathlib import Path

import numpy as np
import pytest
import torch
from meta_helpers import gru_pair_scores
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from training_helpers import CPU, STORE, run, tiny_params, tiny_trainer

from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.inner import adapt
from mooc_maml.meta.model import MetaModel, adapted_scores, read_meta_model, relative_changes
from mooc_maml.models.gru import GRURecommender
from mooc_maml.ranking.query_ranks import ScoreFunction
from mooc_maml.ranking.seen import NONE_LEFT_OUT

LEARNER = GRUTaskModel(CPU, torch.float64)
LAYERS = {
    "embedding": ["embedding.weight"],
    "GRU input": ["gru.weight_ih_l0", "gru.bias_ih_l0"],
    "GRU hidden": ["gru.weight_hh_l0", "gru.bias_hh_l0"],
    "head": ["head.weight", "head.bias"],
}


@pytest.fixture(autouse=True)
def _deterministic_algorithms_are_set_by_reading_a_model():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def model(layers: int = 1) -> GRURecommender:
    drawn = torch_generator(1, "test-few-shot")
    return GRURecommender(STORE.num_courses, 3, 4, layers, generator=drawn).double()


def detached(of: GRURecommender) -> dict[str, torch.Tensor]:
    return {name: weight.detach() for name, weight in of.named_parameters()}


def loss(of: GRURecommender, weights: dict[str, torch.Tensor], examples: Examples) -> torch.Tensor:
    names = {f"inner.{name}": weight for name, weight in weights.items()}
    scores = functional_call(_PairScores(of), names, (examples,))
    return cross_entropy(scores[0], examples.label[0] - 1)


class _PairScores(torch.nn.Module):
    def __init__(self, inner: GRURecommender) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, examples: Examples) -> torch.Tensor:
        return gru_pair_scores(self.inner, examples)


def scorer(weights: dict, steps: int) -> ScoreFunction:
    return adapted_scores(
        LEARNER, lambda support: adapt(LEARNER, weights, LEARNER.prepare(support), steps, 0.5)[0]
    )


def adapted(of: GRURecommender, support: Examples, steps: int, inner_lr: float) -> dict:
    """Plain gradient descent by autograd on the one task of `support`."""
    fast = {name: weight.requires_grad_() for name, weight in detached(of).items()}
    for _ in range(steps):
        slopes = torch.autograd.grad(loss(of, fast, support), list(fast.values()))
        fast = {n: x - inner_lr * g for (n, x), g in zip(fast.items(), slopes, strict=True)}
    return {name: weight.detach() for name, weight in fast.items()}


def test_no_step_is_the_model_itself():
    tasks, start = np.arange(4), model()
    support, query = STORE.support("test", tasks), STORE.query("test", tasks)
    scores = scorer(detached(start), 0)(support, query)
    torch.testing.assert_close(scores, gru_pair_scores(start, query).detach())


@pytest.mark.parametrize("number", [1, 4])
def test_without_a_tape_the_weights_are_the_same_to_the_bit(number):
    tasks, weights = np.arange(number), detached(model(2))
    support = LEARNER.prepare(STORE.support("test", tasks))
    query = LEARNER.prepare(STORE.query("test", tasks))
    kept, trajectory = adapt(LEARNER, weights, support, 3, 0.5)
    alone, nothing = adapt(LEARNER, weights, support, 3, 0.5, keep=False)
    assert len(trajectory) == 3
    assert nothing == []
    assert LEARNER.gradient(alone, query, keep=False)[2] is None
    assert torch.equal(LEARNER.scores(kept, query), LEARNER.scores(alone, query))


@pytest.mark.parametrize("layers", [1, 2])
def test_scores_after_steps_are_those_of_plain_gradient_descent(layers):
    tasks, start = np.arange(4), model(layers)
    score = scorer(detached(start), 3)
    scores = score(STORE.support("test", tasks), STORE.query("test", tasks))
    for task in tasks:
        own = np.array([task])
        fast = adapted(start, STORE.support("test", own), 3, 0.5)
        plain = functional_call(
            _PairScores(start),
            {f"inner.{name}": weight for name, weight in fast.items()},
            (STORE.query("test", own),),
        )
        torch.testing.assert_close(scores[task], plain[0].detach(), rtol=0, atol=1e-12)
    unadapted = gru_pair_scores(start, STORE.query("test", tasks)).detach()
    assert (scores - unadapted).abs().max() > 0.01, "the steps are large enough to show"


def test_queries_do_not_matter_to_adaptation():
    """The control of leakage: other queries, the same scores for the one that stays."""
    tasks, weights = np.array([0]), detached(model())
    score = scorer(weights, 2)
    support, query = STORE.support("test", tasks), STORE.query("test", tasks)
    changed = query._replace(label=query.label.flip(1))
    torch.testing.assert_close(score(support, query), score(support, changed))
    torch.testing.assert_close(
        score(support, query)[:, :1],
        score(support, STORE.batch(STORE.query_pairs("test", tasks)[:, :1])),
    )


@pytest.mark.parametrize("at_once", [1, 3, 32])
def test_relative_changes_are_the_norms_of_the_difference(at_once):
    settings, start = tiny_params(hardware={"tasks_at_once": at_once}), model()
    found = relative_changes(MetaModel(LEARNER, detached(start), settings), STORE)
    learners = len(STORE.episodes["test"])
    assert set(found) == set(LAYERS)
    assert {values.shape for values in found.values()} == {(learners,)}
    for task in range(learners):
        support = STORE.support("test", np.array([task]))
        fast = adapted(start, support, settings.num_inner_steps, settings.inner_lr)
        before = detached(start)
        for layer, names in LAYERS.items():
            moved = torch.cat([(fast[n] - before[n]).flatten() for n in names])
            whole = torch.cat([before[n].flatten() for n in names])
            expected = float(moved.norm() / whole.norm())
            assert found[layer][task] == pytest.approx(expected, rel=1e-9), layer


def test_layers_beyond_the_first_are_numbered():
    settings = tiny_params(model={"layers": 2})
    names = set(relative_changes(MetaModel(LEARNER, detached(model(2)), settings), STORE))
    assert names == {*LAYERS, "GRU input 2", "GRU hidden 2"}


def test_a_model_is_read_as_it_was_trained(tmp_path: Path):
    trainer = run(tiny_trainer())
    keep_model(tmp_path, trainer)
    meta = read_meta_model(tmp_path, tiny_params(), STORE.num_courses, NONE_LEFT_OUT)
    assert meta.weights.keys() == trainer.best.keys()
    assert all(torch.equal(meta.weights[name], trainer.best[name]) for name in trainer.best)
    assert not any(weight.requires_grad for weight in meta.weights.values())


def test_a_model_that_is_missing_or_of_another_catalogue_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"maml_gru_K2\.pth: no such file"):
        read_meta_model(tmp_path, tiny_params(), STORE.num_courses, NONE_LEFT_OUT)
    keep_model(tmp_path, tiny_trainer())
    with pytest.raises(UserError, match=r"ranks 12 courses, the data have\s13"):
        read_meta_model(tmp_path, tiny_params(), 13, NONE_LEFT_OUT)
