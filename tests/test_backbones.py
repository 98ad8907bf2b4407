"""Backbones beside the GRU under the same engine: exact, causal, and they learn."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from meta_helpers import Weights, assemble, by_autograd, left_out, pairs_of
from torch import Tensor
from torch.func import functional_call
from training_helpers import CPU, STORE, run, same_weights, tiny_params, tiny_trainer

from benchmarks.ways import relative_error
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator, torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.backbone import Backbone
from mooc_maml.meta.backbones import BACKBONES
from mooc_maml.meta.files import keep_checkpoint, keep_model
from mooc_maml.meta.inner import TaskModel, adapt
from mooc_maml.meta.losses import Pairs, recommender_loss
from mooc_maml.meta.losses import pairs_of as pairs_for
from mooc_maml.meta.model import read_meta_model, relative_changes
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.meta.recommender import RecommenderTaskModel
from mooc_maml.meta.run import check_settings
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.meta.transformer import TRANSFORMER
from mooc_maml.meta.variants import VARIANTS, variant_of
from mooc_maml.models.transformer import SASRec
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter
from mooc_maml.settings.params import ModelParams, Params

COURSES = 9
SHAPE = {"dim": 4, "heads": 2, "blocks": 1}
SUPPORT = [pairs_of([1, 2, 1, 3]) + pairs_of([4, 5]), [([6], 7)], pairs_of([8, 2, 9, 2])]
QUERY = [pairs_of([2, 3, 2]), pairs_of([7, 6, 7, 6, 8]) + pairs_of([1, 5]), [([9], 2)]]


def sasrec(heads: int = 2, blocks: int = 2, dropout: float = 0.0) -> SASRec:
    drawn = torch_generator(4, "test-sasrec")
    return SASRec(COURSES, 8, heads, blocks, dropout, 6, generator=drawn)


def weights_of(model: SASRec, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {name: x.detach().to(dtype) for name, x in model.state_dict().items()}


def task_model(model: SASRec, taken: SeenFilter = NONE_LEFT_OUT) -> TaskModel:
    return TRANSFORMER.task_model(model, CPU, model.norm.weight.dtype, taken)


def prefix_loss(model: SASRec) -> Callable[[Weights, list[Any]], Tensor]:
    """Mean cross-entropy of one task, a prefix at a time, in a row of its own without padding.

    A pair may have a third part: courses that are left out.
    """

    def loss(weights: Weights, pairs: list[Any]) -> Tensor:
        losses = []
        for prefix, label, *without in pairs:
            read = torch.tensor([prefix]), torch.tensor([0]), torch.tensor([len(prefix) - 1])
            scores = functional_call(model, weights, read)[0]
            ranked = [c for c in range(len(scores)) if not without or c + 1 not in without[0]]
            losses.append(torch.logsumexp(scores[ranked], 0) - scores[label - 1])
        return torch.stack(losses).mean()

    return loss


HOW = {"steps": 3, "inner_lr": 0.1}


def test_loss_is_the_mean_over_real_pairs() -> None:
    """Scores (0, log 3): course 2 has 3/4. One pair says course 2, one course 1, one is none."""

    class Fixed(torch.nn.Module):
        def forward(self, courses: Tensor, row: Tensor, position: Tensor) -> Tensor:
            return torch.tensor([1.0, 3.0]).log().expand(len(row), 2)

    def loss(label: list[int], left_out: Tensor | None = None) -> float:
        none = torch.zeros(1, 3, dtype=torch.int64)
        label_ = torch.tensor([label])
        examples = Examples(none[..., None], none, none, label_, torch.ones(1), none, none)
        pairs = pairs_for(examples, torch.float32, 2, left_out)
        return recommender_loss(Fixed())({}, Pairs(*(x[0] for x in pairs))).item()

    assert loss([2, 1, 0]) == pytest.approx(-(log(3 / 4) + log(1 / 4)) / 2)
    assert loss([0, 0, 0]) == 0
    # without course 1 the first pair has course 2 for sure; nothing is left out of the second
    assert loss([2, 1, 0], torch.tensor([[[1], [0], [0]]])) == pytest.approx(-log(1 / 4) / 2)


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_meta_gradient_equals_plain_autograd(
    second_order: bool, dtype: torch.dtype, close: float
) -> None:
    """Of prefixes read one by one: neither shared rows nor padding nor pairs that are none leak."""
    model, how = sasrec(), HOW | {"second_order": second_order}
    expected_losses, expected = by_autograd(
        prefix_loss(model), weights_of(model), SUPPORT, QUERY, **how
    )
    batch = assemble(SUPPORT), assemble(QUERY)
    learner = task_model(sasrec().to(dtype))
    losses, gradient, _ = meta_gradient(learner, weights_of(model, dtype), *batch, **how)
    assert losses.tolist() == pytest.approx(expected_losses.tolist(), rel=close)
    assert relative_error(gradient, expected) < close
    assert all(x.norm() > 0 for x in gradient.values())
    assert gradient["embedding.weight"][0].abs().max() == 0


def test_meta_gradient_equals_finite_differences() -> None:
    model, batch = sasrec(blocks=1).double(), (assemble(SUPPORT), assemble(QUERY))
    how = HOW | {"steps": 2}
    weights, learner = weights_of(model), task_model(model)
    _, gradient, _ = meta_gradient(learner, weights, *batch, second_order=True, **how)
    draw, step = torch_generator(2, "test-finite-differences"), 1e-5
    for name, x in weights.items():
        for place in torch.randperm(x.numel(), generator=draw)[:2].tolist():
            ends = []
            for change in (step, -step):
                moved = weights | {name: x.clone()}
                moved[name].view(-1)[place] += change
                found = meta_gradient(learner, moved, *batch, second_order=False, **how)
                ends.append(found.losses.sum().item())
            slope = (ends[0] - ends[1]) / (2 * step)
            if name == "embedding.weight" and place < x.shape[1]:
                slope = 0.0  # padding never learns
            expected = pytest.approx(slope, rel=1e-5, abs=1e-7)
            assert gradient[name].view(-1)[place].item() == expected, (name, place)


@pytest.mark.parametrize("taken", [SeenFilter(True, False, None), SeenFilter(True, True, None)])
def test_courses_left_out_of_the_loss_are_left_out(taken: SeenFilter) -> None:
    model = sasrec().double()
    support, query = [pairs_of([1, 2, 4, 3]), pairs_of([8, 2, 9])], [pairs_of([2, 3, 5, 1])] * 2
    own_query = [
        left_out(own, shown if taken.support else ())
        for own, shown in zip(query, support, strict=True)
    ]
    how, batch = HOW | {"second_order": True}, ([left_out(own) for own in support], own_query)
    expected_losses, expected = by_autograd(prefix_loss(model), weights_of(model), *batch, **how)
    plain, _ = by_autograd(prefix_loss(model), weights_of(model), support, query, **how)
    losses, gradient, _ = meta_gradient(
        task_model(model, taken), weights_of(model), assemble(support), assemble(query), **how
    )
    assert losses.tolist() == pytest.approx(expected_losses.tolist(), rel=1e-9)
    assert relative_error(gradient, expected) < 1e-9
    assert (plain - expected_losses).abs().min() > 1e-3, "leaving out shows in every task"


def test_learned_rates_take_tasks_together_where_weights_are_whole() -> None:
    """Meta-SGD of several tasks at once: the sums of what each gives alone."""
    params = small(meta={"variant": "meta_sgd"}, num_inner_steps=2)
    model = sasrec().double()
    learner, variant, weights = task_model(model), variant_of(params), weights_of(model)
    assert not variant.one_task_alone
    assert variant_of(tiny_params(meta={"variant": "meta_sgd"})).one_task_alone, "of the GRU"
    draw = torch_generator(3, "test-rates")
    rates = {
        name: x + torch.randn(x.shape, generator=draw, dtype=x.dtype)
        for name, x in variant.learned(weights).items()
    }
    support, query = assemble(SUPPORT), assemble(QUERY)
    losses, gradient = variant.meta_gradient(learner, weights | rates, support, query, 0)
    alone = [
        variant.meta_gradient(learner, weights | rates, support.take([i]), query.take([i]), 0)
        for i in range(len(SUPPORT))
    ]
    torch.testing.assert_close(losses, torch.cat([own for own, _ in alone]))
    assert gradient.keys() == weights.keys() | rates.keys()
    summed = {name: sum(own[name] for _, own in alone) for name in gradient}
    assert relative_error(gradient, summed) < 1e-12


def test_scores_and_changes_after_adaptation_are_those_of_plain_gradient_descent() -> None:
    model = sasrec().double()
    learner, weights, loss = task_model(model), weights_of(model), prefix_loss(model)
    fast, _ = adapt(learner, weights, learner.prepare(assemble(SUPPORT)), 2, 0.3)
    scores = learner.scores(fast, learner.prepare(assemble(QUERY)))
    changes = learner.relative_changes(weights, fast)
    assert list(changes) == [
        *("embedding", "position", "attention 1", "feed-forward 1"),
        *("attention 2", "feed-forward 2", "output norm"),
    ]
    for task, own_support in enumerate(SUPPORT):
        own = {name: x.requires_grad_() for name, x in weights.items()}
        for _ in range(2):
            slopes = torch.autograd.grad(loss(own, own_support), list(own.values()))
            own = {n: x - 0.3 * g for (n, x), g in zip(own.items(), slopes, strict=True)}
        for pair, (prefix, label) in enumerate(QUERY[task]):
            found = torch.logsumexp(scores[task, pair], 0) - scores[task, pair, label - 1]
            assert found.item() == pytest.approx(loss(own, [(prefix, label)]).item(), rel=1e-9)
        names = [name for name in weights if name.startswith("blocks.1.feed")]
        moved = torch.cat([(own[n] - weights[n]).flatten() for n in names]).norm()
        whole = torch.cat([weights[n].flatten() for n in names]).norm()
        found = changes["feed-forward 2"][task].item()
        assert found == pytest.approx((moved / whole).item(), rel=1e-9)


def test_padding_and_later_courses_change_no_score() -> None:
    model = sasrec().double()
    row, position = torch.tensor([0, 0]), torch.tensor([0, 2])
    scores = model(torch.tensor([[3, 1, 4]]), row, position)
    for longer in ([[3, 1, 4, 0, 0]], [[3, 1, 4, 8, 2]], [[3, 1, 4, 0, 0], [5, 5, 5, 5, 5]]):
        torch.testing.assert_close(model(torch.tensor(longer), row, position), scores)
    changed = model(torch.tensor([[3, 2, 4]]), row, position)
    assert torch.equal(changed[0], scores[0])
    assert (changed[1] - scores[1]).abs().max() > 1e-3  # it does evaluation at what went before


def test_attention_is_a_mean_over_what_went_before() -> None:
    """With zero queries every weight is equal: state t is the mean of the values up to t."""
    block = sasrec(heads=1).double().blocks[0]
    with torch.no_grad():
        block.query.weight.zero_()
        block.value.weight.copy_(torch.eye(8))
    x = torch.randn(1, 3, 8, generator=torch_generator(1, "test-attention"), dtype=torch.float64)
    later = torch.ones(3, 3, dtype=torch.bool).triu(1)
    expected = x.cumsum(1) / torch.tensor([1, 2, 3])[:, None]
    torch.testing.assert_close(block._attend(x, later), expected)


def test_dropout_only_with_a_generator_and_as_drawn() -> None:
    model = sasrec(dropout=0.5)
    batch = torch.tensor([[1, 2, 3]]), torch.tensor([0]), torch.tensor([2])
    plain = model(*batch)
    drawn = [model(*batch, torch_generator(seed, "test-dropout")) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(plain, model(*batch))


def test_same_generator_same_weights() -> None:
    first, second = weights_of(sasrec()), weights_of(sasrec())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(x.isfinite().all() for x in first.values())
    assert first["embedding.weight"][0].abs().max() == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of heads, 3"):
        sasrec(heads=3)
    with pytest.raises(ValueError, match="rows of 7 courses; this model was made for 6"):
        sasrec()(torch.ones(1, 7, dtype=torch.int64), torch.tensor([0]), torch.tensor([6]))


def test_meta_training_lowers_the_query_loss() -> None:
    """Each learner goes to and fro between two courses of their own: seen once, it is known."""
    model = sasrec(blocks=1)
    weights = weights_of(model, torch.float32)
    learner = task_model(model)
    optimizer = torch.optim.Adam([x.requires_grad_() for x in weights.values()], lr=0.01)
    rng = generator(5, "test-meta-training")
    history = []
    for _ in range(30):
        tastes = [(rng.permutation(COURSES)[:2] + 1).tolist() for _ in range(8)]
        support = assemble([pairs_of([a, b, a]) for a, b in tastes])
        query = assemble([pairs_of([b, a, b, a]) for a, b in tastes])
        now = {name: x.detach() for name, x in weights.items()}
        losses, gradient, _ = meta_gradient(
            learner, now, support, query, steps=2, inner_lr=0.1, second_order=True
        )
        for name, x in weights.items():
            x.grad = gradient[name] / len(tastes)
        optimizer.step()
        history.append(losses.mean().item())
    assert sum(history[-5:]) < 0.6 * sum(history[:5])


# --- the table ------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"backbone": "transformer", "transformer": SHAPE}


def small(**changes: Any) -> Params:
    return tiny_params(**{"model": SMALL, **changes})


@pytest.fixture(autouse=True)
def _one_thread_and_the_algorithms_as_before():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_the_settings_name_the_table() -> None:
    assert set(get_args(ModelParams.model_fields["backbone"].annotation)) == set(BACKBONES)
    assert all(name == own.name for name, own in BACKBONES.items())


FITTING = [name for name, kind in VARIANTS.items() if kind.part is None]


@pytest.mark.parametrize("variant", FITTING)
def test_the_transformer_is_meta_trained_kept_and_read(variant: str, tmp_path: Path) -> None:
    trainer = run(tiny_trainer(model=SMALL, meta={"variant": variant}, num_meta_iterations=4))
    assert [evaluation["iteration"] for evaluation in trainer.progress.validation] == [0, 4]
    keep_model(tmp_path, trainer)
    assert [path.name for path in tmp_path.iterdir()] == ["maml_transformer_K2.pth"]
    meta = read_meta_model(tmp_path, trainer.params, STORE.num_courses, NONE_LEFT_OUT)
    assert same_weights(meta.weights, trainer.best)
    best = max(
        trainer.progress.validation, key=lambda evaluation: evaluation["few_shot"]["NDCG@10"]
    )
    for mode, steps in (("zero_shot", 0), ("few_shot", None)):
        ranks = query_ranks(meta.scores(steps), STORE, "validation", tasks_at_once=3, device=CPU)
        assert summary(ranks) == pytest.approx(best[mode])
    changes = relative_changes(meta, STORE)
    assert {x.shape for x in changes.values()} == {(len(STORE.episodes["test"]),)}
    assert min(x.min() for x in changes.values()) > 0


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in FITTING])
def test_a_variant_that_moves_a_part_it_lacks_stops_before_any_work(variant: str) -> None:
    said = rf"found '{variant}', which moves the \w+ alone.* transformer.*allowed with it are maml,"
    for work in (check_settings, lambda params: MetaTrainer(STORE, params, CPU)):
        with pytest.raises(UserError, match=said):
            work(small(meta={"variant": variant}))
    check_settings(tiny_params(meta={"variant": variant}))


def test_a_warm_start_without_a_baseline_for_it_stops_before_any_work() -> None:
    said = r"meta\.warm_start: found true; allowed with model\.backbone transformer is false"
    with pytest.raises(UserError, match=said):
        check_settings(small(meta={"warm_start": True}))
    check_settings(tiny_params(meta={"warm_start": True}))


def test_a_file_of_another_backbone_is_refused(tmp_path: Path) -> None:
    trainer = tiny_trainer(model=SMALL)
    keep_model(tmp_path, trainer)
    keep_checkpoint(tmp_path, trainer)
    settings = torch.load(tmp_path / "checkpoints" / "checkpoint_iter0.pth")["settings"]
    assert (settings["backbone"], settings["meta"]["variant"]) == ("transformer", "maml")
    path = tmp_path / "maml_transformer_K2.pth"
    path.rename(tmp_path / "maml_gru_K2.pth")
    with pytest.raises(UserError, match="settings of a GRURecommender, found something else"):
        read_meta_model(tmp_path, tiny_params(), STORE.num_courses, NONE_LEFT_OUT)
    with pytest.raises(UserError, match="transformer maml, the settings say gru maml"):
        tiny_trainer().restore(trainer.state())


class BagOfCourses(torch.nn.Module):
    """A third backbone: the mean of the prefix's embeddings, through one matrix."""

    def __init__(
        self, num_courses: int, dim: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.settings = {"num_courses": num_courses, "dim": dim}
        drawn = [torch.zeros(num_courses + 1, dim), torch.zeros(num_courses, dim)]
        if generator is not None:
            drawn = [torch.randn(x.shape, generator=generator) for x in drawn]
        self.embedding, self.out = map(torch.nn.Parameter, drawn)

    def forward(self, courses: Tensor, row: Tensor, position: Tensor) -> Tensor:
        seen = torch.nn.functional.embedding(courses, self.embedding, 0).cumsum(1)
        mean = seen / torch.arange(1, courses.shape[1] + 1)[:, None]
        return mean[row, position] @ self.out.T


BAG = Backbone(
    "bag",
    BagOfCourses,
    lambda params: {"dim": params.model.embedding_dim},
    RecommenderTaskModel,
    parts={"head": "out"},
)


@pytest.mark.parametrize("variant", ["maml", "anil", "meta_sgd"])
def test_a_third_backbone_is_a_module_and_a_line(
    variant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(BACKBONES, "bag", BAG)
    params = tiny_params(meta={"variant": variant}, inner_lr=0.5, num_meta_iterations=40)
    params = params.model_copy(
        update={"model": params.model.model_copy(update={"backbone": "bag"})}
    )
    trainer = run(MetaTrainer(STORE, params, CPU))
    losses = trainer.progress.losses
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    keep_model(tmp_path, trainer)
    assert (tmp_path / "maml_bag_K2.pth").is_file()
    meta = read_meta_model(tmp_path, params, STORE.num_courses, NONE_LEFT_OUT)
    zero, few = (
        query_ranks(meta.scores(steps), STORE, "test", tasks_at_once=32, device=CPU)
        for steps in (0, None)
    )
    assert zero.shape == few.shape == (len(STORE.episodes["test"]), STORE.query_size)
    assert (zero != few).any(), "adaptation shows in the ranks"
    moved = {layer for layer, change in relative_changes(meta, STORE).items() if change.any()}
    assert moved == ({"out"} if variant == "anil" else {"embedding", "out"})
    lacking = replace(BAG, parts={})
    monkeypatch.setitem(BACKBONES, "bag", lacking)
    if variant == "anil":
        with pytest.raises(UserError, match=r"moves the head alone, and model\.backbone bag has"):
            check_settings(params)
