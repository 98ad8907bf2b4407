"""The mixture that adapts its weights, against numbers worked out by hand and plain autograd."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from episode_helpers import params, small_store, steps
from test_counting_baselines import pairs
from torch import Tensor

from mooc_maml.baselines.base import FittedOnValidation, Parts
from mooc_maml.baselines.markov import Markov
from mooc_maml.baselines.popularity import Popularity
from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.repeat import Repeat
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.composites.features import (
    Features,
    features_of,
    first,
    part_scores,
    support_features,
)
from mooc_maml.composites.mixture import Mixture
from mooc_maml.composites.mixture_zero_shot import MixtureZeroShot
from mooc_maml.composites.pool import Pool
from mooc_maml.composites.pooling import PoolTaskModel, pooled
from mooc_maml.composites.windows import windows
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.query_ranks import learner_metrics, query_ranks
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter
from mooc_maml.settings.params import Params

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
MIXTURE = {"mixture": {"steps": 2, "updates": 4, "learners": 3, "learning_rate": 0.05}}


class Fixed:
    """Says the same of every query."""

    reads_support = False
    law = "shares"

    def __init__(self, values: Sequence[float]) -> None:
        self.values = torch.tensor(values)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        return self.values.expand(*query.label.shape, -1)


def parts_of(store: EpisodeStore, settings: Params) -> Parts:
    kinds = {"popularity": Popularity, "repeat": Repeat, "markov": Markov}
    return {name: kind.train(store, settings, CPU, print) for name, kind in kinds.items()}


def mixture(parts: Parts, courses: int, steps: int, taken: SeenFilter = NONE_LEFT_OUT) -> Mixture:
    """Weights that are all different."""
    number = len(parts) + 1
    ends = ((0.3, 1.1), (0.2, -0.1), (-0.3, 0.4)), ((-3.0, -2.0), (-2.0, -4.0), (-2.5, -3.0))
    rows = [torch.stack([torch.linspace(*x, number) for x in own]) for own in ends]
    weights = dict(zip(("weight", "log_rate"), rows, strict=True))
    return Mixture(parts, taken, weights, steps, courses, [])


def test_evidence_by_hand() -> None:
    parts = {"popularity": Fixed([3.0, 1.0, 0.0]), "markov": Fixed([0.1, 0.1, 0.2])}
    query = pairs([([2, 1], 3), ([1, 2, 1], 2)])
    found = features_of(part_scores(parts, query, query), NONE_LEFT_OUT, query, query)
    a, b = np.array([0.75, 0.25, 0.0]), np.array([0.25, 0.25, 0.5])
    expected = np.log(np.stack([a, b, (a + b) / 2], -1) + 1e-5)
    np.testing.assert_allclose(found.log_p[0, 1], expected, rtol=1e-5)
    context = [[1, log(2) - 2, log(3)], [1, log(3) - 2, log(3)]]  # told of two pairs
    np.testing.assert_allclose(found.context[0], context, rtol=1e-6)
    alone = features_of(part_scores(parts, query, query), NONE_LEFT_OUT, first(query, 0), query)
    assert alone.context[0, :, 2].tolist() == [0, 0]
    assert found.target.tolist() == [[2, 1]]
    assert not found.is_out.any()


def test_what_cannot_come_has_no_probability_and_is_out_of_the_loss() -> None:
    parts = {"popularity": Fixed([3.0, 1.0, 4.0])}
    query = pairs([([1], 2), ([2, 1], 1)])  # the second comes again, against the rule
    taken = SeenFilter(True, False, None)
    found = features_of(part_scores(parts, query, query), taken, query, query)
    np.testing.assert_allclose(found.log_p[0, 0, :, 0].exp(), [1e-5, 0.20001, 0.80001], rtol=1e-4)
    assert found.is_out.tolist() == [[[True, False, False], [False, True, False]]]


def test_the_first_pairs_show_nothing_of_later_ones() -> None:
    learner = Examples(
        torch.tensor([[[1, 2, 3, 4], [5, 6, 0, 0]]]),
        torch.tensor([[0, 1, 0]]),
        torch.tensor([[1, 0, 2]]),
        torch.tensor([[3, 6, 4]]),
        torch.zeros(1),
        torch.tensor([[7, 8, 7]]),
        torch.tensor([[0, 2, 0]]),
    )
    assert first(learner, 0).label.shape == (1, 0)
    assert not first(learner, 0).courses.any()
    assert first(learner, 1).courses.tolist() == [[[1, 2, 0, 0], [0, 0, 0, 0]]]
    assert first(learner, 2).courses.tolist() == [[[1, 2, 0, 0], [5, 0, 0, 0]]]
    assert first(learner, 2).session.tolist() == [[7, 8]]
    assert first(learner, 2).offset.tolist() == [[0, 2]]
    assert first(learner, 3).courses.tolist() == [[[1, 2, 3, 0], [5, 0, 0, 0]]]
    store = small_store()
    support = store.support("test", np.arange(4))
    parts = parts_of(store, params())
    seen = support_features(parts, NONE_LEFT_OUT, support)
    other = support._replace(label=support.label.clone())
    other.label[:, -1] = other.label[:, -1] % store.num_courses + 1  # the last label, another one
    again = support_features(parts, NONE_LEFT_OUT, other)
    assert torch.equal(seen.log_p, again.log_p)
    assert not torch.equal(seen.target, again.target)


@pytest.mark.parametrize(
    "name", [name for name, x in BASELINES.items() if x.reads_support and name != "random"]
)
def test_no_part_is_told_of_the_pair_it_is_asked_or_of_later_ones(name: str) -> None:
    """Each part that reads the support, trained for an epoch, asked pair by pair."""
    small = {"dropout": 0.0, "epochs": 1, "patience": 0, "batch_size": 64, "learning_rate": 0.01,
             "dim": 4, "heads": 1, "blocks": 1}  # fmt: skip
    store, settings = small_store(), params(baselines={"gru": {"epochs": 1}, "sasrec": small})
    part = BASELINES[name].train(store, settings, CPU, lambda _: None)
    every = store.support("train", np.arange(len(store.episodes["train"])))
    # Of two sessions: a later prefix of the same one itself shows the next course before it.
    apart = (every.session[:, 0] != every.session[:, 1]).nonzero().flatten().tolist()
    support = every.take(apart[:4])
    assert support.num_tasks == 4
    seen = support_features({name: part}, NONE_LEFT_OUT, support)
    for number in range(support.label.shape[1]):
        other = support._replace(label=support.label.clone())
        other.label[:, number:] = other.label[:, number:] % store.num_courses + 1
        again = support_features({name: part}, NONE_LEFT_OUT, other)
        same = (seen.log_p == again.log_p).flatten(2).all(-1).all(0)
        assert same[: number + 1].all()
        assert not same[number + 1 :].any()  # these are told of it


def test_support_pairs_are_told_of_those_before_them() -> None:
    """Repeat is: after 1 -> 2 in an earlier session, the pair 3 -> 1 knows 1 and 2."""
    support = pairs([([1], 2), ([3], 1)])
    repeat = Repeat(np.full(4, 0.25), True, CPU)
    found = support_features({"repeat": repeat}, NONE_LEFT_OUT, support)
    p = found.log_p[0, :, :, 0].exp() - 1e-5
    # Counts 1, 0, 0, 0 and then 1, 1, 1, 0; popularity adds 1/8 to each.
    np.testing.assert_allclose(p[0], np.array([9, 1, 1, 1]) / 12, rtol=1e-4)
    np.testing.assert_allclose(p[1], np.array([9, 9, 9, 1]) / 28, rtol=1e-4)
    np.testing.assert_allclose(found.context[0, :, 2], [0, log(2)], rtol=1e-6)


def test_only_what_reads_the_support_is_asked_again() -> None:
    store = small_store()
    parts = parts_of(store, params())
    support, query = store.support("test", np.arange(4)), store.query("test", np.arange(4))
    nothing = first(support, 0)
    before = part_scores(parts, nothing, query)
    again = part_scores(parts, support, query, before)
    for name, p in part_scores(parts, support, query).items():
        assert torch.equal(again[name], p)
        assert torch.equal(p, before[name]) == (name != "repeat")


def test_what_reads_the_support_pairs_is_listed() -> None:
    """Each part, trained for an epoch, says something else of other support pairs, or does not."""
    once = {"dropout": 0.0, "epochs": 1, "patience": 0, "batch_size": 64, "learning_rate": 0.01}
    small = {"sasrec": {**once, "dim": 4, "heads": 1, "blocks": 1},
             "gru_tuned": {**once, "embedding_dim": 4, "hidden_dim": 4}}  # fmt: skip
    store, settings = small_store(), params(baselines={"gru": {"epochs": 1}, **small})
    query, learners = store.query("test", np.arange(4)), np.arange(4)
    for name, kind in BASELINES.items():
        part = kind.train(store, settings, CPU, lambda _: None)
        told = [part.scores(store.support("test", x), query) for x in (learners, learners[::-1])]
        assert torch.equal(*told) == (not kind.reads_support), name


def evidence(seed: int, tasks: int, number: int) -> Features:
    """Made up, in float64: 4 courses, 2 parts."""
    drawn = torch.Generator().manual_seed(seed)
    log_p = torch.randn(tasks, number, 4, 2, generator=drawn, dtype=torch.float64)
    context = torch.randn(tasks, number, 3, generator=drawn, dtype=torch.float64)
    target = torch.randint(4, (tasks, number), generator=drawn)
    is_out = torch.zeros(tasks, number, 4, dtype=torch.bool)
    is_out[:, 0, (int(target[0, 0]) + 1) % 4] = True
    is_out.scatter_(2, target[..., None], False)
    return Features(log_p, context, is_out, target)


def test_loss_and_its_derivatives_by_hand() -> None:
    log_p = torch.tensor([[[[0.0, 1.0], [2.0, 0.0], [9.0, 9.0]]]])  # one pair, 3 courses, 2 parts
    context, is_out = torch.tensor([[[1.0, 0.5, 2.0]]]), torch.tensor([[[False, False, True]]])
    one, model = Features(log_p, context, is_out, torch.tensor([[1]])), PoolTaskModel()
    weights = {"weight": torch.tensor([[1.0, 1.0], [0.0, 2.0], [0.0, 0.5]])}
    # Weights 1 and 1 + 2 * 0.5 + 0.5 * 2 = 3: scores 3, 2 and, left out, 36.
    loss, gradient, tape = model.gradient(model.initial(weights, one), one)
    assert loss.tolist() == pytest.approx([log(exp(3) + exp(2)) - 2])
    p = exp(3) / (exp(3) + exp(2))  # of the first course; the second's is 1 - p
    by_part = torch.tensor([2 * (1 - p - 1), p])  # sum of (p - [c is next]) log p, by part
    expected = torch.tensor([1.0, 0.5, 2.0])[:, None] * by_part
    torch.testing.assert_close(gradient.values["weight"], expected[None])
    # Along the first part's weight the scores change by 0 and 2: p' = p (s' - 2 (1 - p)).
    along = model.initial({"weight": torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])}, one)
    change = 2 * p * (1 - p)  # of the second course, and its negative of the first
    expected = torch.tensor([1.0, 0.5, 2.0])[:, None] * torch.tensor([2 * change, -change])
    found = model.hessian_product(tape, along).values["weight"]
    torch.testing.assert_close(found, expected[None])


def plain_loss(weight: Tensor, pairs: Sequence[Tensor]) -> Tensor:
    """The mean cross-entropy of one task's pairs, from its definition."""
    log_p, context, is_out, target = pairs
    losses = []
    for number, after in enumerate(target.tolist()):
        scores = log_p[number] @ (context[number] @ weight)
        losses.append(scores[~is_out[number]].logsumexp(0) - scores[after])
    return torch.stack(losses).mean()


def test_gradient_equals_plain_autograd(monkeypatch: Any) -> None:
    """Of a loss after three steps with a rate a weight, and the loss before them."""
    seen, query = evidence(1, 3, 2), evidence(2, 3, 4)
    found = mixture({"popularity": Fixed([1.0])}, 4, steps=3)
    found.weights = {name: x.double() for name, x in found.weights.items()}
    module = "mooc_maml.composites.mixture"
    monkeypatch.setattr(f"{module}.support_features", lambda *_: seen)
    monkeypatch.setattr(f"{module}.features_of", lambda *_: query)
    support = pairs(*[[([1], 2)]] * 3)
    gradient = found.gradient(support, support)

    leaves = {name: x.clone().requires_grad_() for name, x in found.weights.items()}
    total = torch.zeros((), dtype=torch.float64)
    for task in range(3):
        mine, later = ([x[task] for x in group] for group in (seen, query))
        own, rate = leaves["weight"], leaves["log_rate"].exp()
        total = total + plain_loss(own, later)
        for _ in range(3):
            loss = plain_loss(own, mine)
            own = own - rate * torch.autograd.grad(loss, own, create_graph=True)[0]
        total = total + plain_loss(own, later)
    expected = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
    assert gradient.keys() == expected.keys()
    for name, g in expected.items():
        torch.testing.assert_close(gradient[name], g, rtol=1e-9, atol=1e-12)
        assert g.norm() > 1e-4, name


def test_the_pool_goes_down_the_plain_cross_entropy_and_is_never_adapted() -> None:
    """Told of the support pairs and not; its weights do not depend on the learner."""
    store, settings = small_store(), params(composites=MIXTURE)
    parts = parts_of(store, settings)
    support, query = store.support("test", np.arange(3)), store.query("test", np.arange(3))
    number = len(parts) + 1
    weights = {"weight": torch.linspace(0.3, 1.1, 3 * number).view(3, number)}
    weights["log_rate"] = torch.zeros_like(weights["weight"])
    pool = Pool(parts, NONE_LEFT_OUT, weights, 0, store.num_courses, [])
    start = weights["weight"].clone().requires_grad_()
    total = torch.zeros(())
    for told in (support, first(support, 0)):
        seen = features_of(part_scores(parts, told, query), NONE_LEFT_OUT, told, query)
        losses = [plain_loss(start, [x[task] for x in seen]) for task in range(3)]
        total = total + torch.stack(losses).sum()
    gradient = pool.gradient(support, query)
    torch.testing.assert_close(gradient["weight"], torch.autograd.grad(total, start)[0])
    assert not gradient["log_rate"].any()
    assert torch.equal(pool.adapted(support), weights["weight"].expand(3, -1, -1))

    trained = Pool.train(store, settings, CPU, lambda _: None, parts)
    assert trained.steps == 0
    assert trained.history[0]["weights"].keys() == {"level", "length", "told"}
    whole = Mixture.train(store, settings, CPU, lambda _: None, parts)
    assert not torch.equal(trained.weights["weight"], whole.weights["weight"])


def test_one_step_is_the_gradient_times_the_rates() -> None:
    store = small_store()
    parts, support = parts_of(store, params()), store.support("test", np.arange(3))
    found = mixture(parts, store.num_courses, steps=1)
    own = found.adapted(support)
    seen = support_features(parts, NONE_LEFT_OUT, support)
    for task in range(3):
        start = found.start["weight"].clone().requires_grad_()
        loss = plain_loss(start, [x[task] for x in seen])
        expected = start - found.rates["weight"] * torch.autograd.grad(loss, start)[0]
        torch.testing.assert_close(own[task], expected.detach())
        assert not torch.equal(own[task], start)


def test_zero_shot_is_the_start_and_sees_no_support() -> None:
    store = small_store()
    parts = parts_of(store, params())
    whole = mixture(parts, store.num_courses, steps=2)
    zero = MixtureZeroShot.train(store, params(), CPU, print, {"mixture": whole})
    query = store.query("test", np.arange(4))
    support = store.support("test", np.arange(4))
    other = store.support("test", np.arange(4)[::-1].copy())
    assert torch.equal(zero.scores(support, query), zero.scores(other, query))
    assert not torch.equal(whole.scores(support, query), whole.scores(other, query))
    none = first(support, 0)
    alone = features_of(part_scores(parts, none, query), NONE_LEFT_OUT, none, query)
    expected = pooled(whole.weights["weight"], alone)
    torch.testing.assert_close(zero.scores(support, query), expected)
    torch.testing.assert_close(whole.scores(first(support, 0), query), expected)


@pytest.mark.parametrize("at_once", [1, 5])
def test_learners_do_not_mix(at_once: int) -> None:
    store = small_store()
    found = mixture(parts_of(store, params()), store.num_courses, steps=2)
    support, query = store.support("test", np.arange(5)), store.query("test", np.arange(5))
    whole = found.scores(support, query)
    alone = found.scores(support.tasks(4 - at_once % 5, 5), query.tasks(4 - at_once % 5, 5))
    torch.testing.assert_close(alone[-1], whole[-1], rtol=1e-5, atol=1e-5)


def test_windows_are_of_the_given_learners_and_in_order_of_time() -> None:
    store = small_store()
    own = store.episodes["validation"][:, 0]
    found = windows(store, own).episodes["train"]
    assert set(found[:, 0]) <= set(own)
    assert {tuple(x) for x in store.episodes["validation"]} <= {tuple(x) for x in found}
    for learner, start in found:
        rows = np.arange(start, start + 5)
        assert (store.pair_learner[rows] == learner).all()
        assert store.pair_time[start + 1] < store.pair_time[start + 2]
    number = np.diff(store.learner_start)[own]
    assert len(found) <= (number - 4).sum()
    tied = replace(store, pair_time=np.zeros_like(store.pair_time))
    assert not len(windows(tied, own).episodes["train"])


def test_the_same_from_its_file_and_training_gives_the_same_bytes(tmp_path: Path) -> None:
    store, settings = small_store(), params(composites=MIXTURE)
    parts = parts_of(store, settings)
    for name in ("a", "b"):
        Mixture.train(store, settings, CPU, lambda _: None, parts).write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    again = Mixture.read(tmp_path / "a", store.num_courses, CPU, parts)
    trained = Mixture.train(store, settings, CPU, lambda _: None, parts)
    support, query = store.support("test", np.arange(3)), store.query("test", np.arange(3))
    assert torch.equal(again.scores(support, query), trained.scores(support, query))
    assert again.steps == 2
    entry = trained.history[0]
    assert entry["weights"]["told"].keys() == {*parts, "mean"}
    assert "rate.told" in entry["weights"]
    assert 0 <= entry["left_out_validation"]["MRR"] <= 1


def test_other_parts_than_it_was_made_of_are_refused(tmp_path: Path) -> None:
    store = small_store()
    parts = parts_of(store, params())
    mixture(parts, store.num_courses, steps=1).write(tmp_path / "m")
    fewer = {name: parts[name] for name in ("popularity", "markov")}
    with pytest.raises(
        UserError, match=r"mixes popularity, repeat, markov, expected popularity, m"
    ):
        Mixture.read(tmp_path / "m", store.num_courses, CPU, fewer)


def test_adaptation_finds_out_which_part_a_learner_follows() -> None:
    """Half of them repeat what they had, half go on to the next number; nobody says who."""
    rng = np.random.default_rng(0)
    sessions = []
    for learner in range(200):
        own = rng.choice(20, 3, replace=False) + 1
        for number in range(5):
            if learner % 2:
                start = int(rng.integers(1, 15))
                courses = list(range(start, start + 4))
            else:
                courses = own[rng.permutation(3)].tolist()
            sessions.append((learner, 1000 * number, courses))
    settings = params(
        episodes={"support_size": 3, "query_size": 3, "train_fraction": 0.2,
                  "validation_fraction": 0.5, "test_fraction": 0.3},
        ablations={"support_sizes": [1, 3]},
        composites={"mixture": {"steps": 3, "updates": 60, "learners": 16, "learning_rate": 0.1}},
    )  # fmt: skip
    store = build_episodes(steps(sessions), settings)[0]
    kinds = {"repeat": Repeat, "markov": Markov}
    parts: Parts = {n: k.train(store, settings, CPU, lambda _: None) for n, k in kinds.items()}
    whole = Mixture.train(store, settings, CPU, lambda _: None, parts)
    zero = MixtureZeroShot.train(store, settings, CPU, print, {"mixture": whole})
    value = {}
    for name, model in {**parts, "few": whole, "zero": zero}.items():
        ranks = query_ranks(model.scores, store, "test", tasks_at_once=32, device=CPU)
        value[name] = float(learner_metrics(ranks)["MRR"].mean())
    assert value["few"] > value["zero"] + 0.1
    assert value["few"] > max(value["repeat"], value["markov"]) + 0.05


def test_figures_on_validation_are_those_of_learners_left_out_of_the_fit(tmp_path: Path) -> None:
    """Of each half by a fit on the other; of zero-shot by the same fits, told of nothing."""
    store, settings = small_store(), params(composites=MIXTURE, seed=5)
    parts = parts_of(store, settings)
    whole = Mixture.train(store, settings, CPU, lambda _: None, parts)
    episodes = store.episodes["validation"]
    order = generator(5, "mixture-halves").permutation(len(episodes))
    values: dict[str, list[float]] = {"mixture": [], "mixture_zero_shot": []}
    for half, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        seen = replace(store, episodes={**store.episodes, "validation": episodes[np.sort(others)]})
        fit = Mixture.train(seen, settings, CPU, lambda _: None, parts)
        zero = MixtureZeroShot.train(seen, settings, CPU, print, {"mixture": fit})
        view = replace(store, episodes={"validation": episodes[half]})
        for name, model in (("mixture", fit), ("mixture_zero_shot", zero)):
            ranks = query_ranks(model.scores, view, "validation", tasks_at_once=32, device=CPU)
            values[name] += learner_metrics(ranks)["MRR"].tolist()
    zero = MixtureZeroShot.train(store, settings, CPU, print, {"mixture": whole})
    for model in (whole, zero):
        assert isinstance(model, FittedOnValidation)
        mean = np.mean(values[model.name])
        assert model.left_out_validation["MRR"] == pytest.approx(float(mean))
        model.write(tmp_path / model.name)
        again = type(model).read(tmp_path / model.name, store.num_courses, CPU, parts)
        assert again.left_out_validation == model.left_out_validation
    assert whole.left_out_validation != zero.left_out_validation
    assert not isinstance(parts["markov"], FittedOnValidation)
