"""A Transformer under the same engine as the GRU: exact, causal, and it learns."""

from math import log

import pytest
import torch
from meta_helpers import assemble, by_autograd, pairs_of
from torch import Tensor

from benchmarks.ways import relative_error
from mooc_maml.common.randomness import generator, torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.dense import DenseLearner
from mooc_maml.meta.losses import recommender_loss
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.models.transformer import SASRec

COURSES = 9
SUPPORT = [pairs_of([1, 2, 1, 3]) + pairs_of([4, 5]), [([6], 7)], pairs_of([8, 2, 9, 2])]
QUERY = [pairs_of([2, 3, 2]), pairs_of([7, 6, 7, 6, 8]) + pairs_of([1, 5]), [([9], 2)]]


def sasrec(heads: int = 2, blocks: int = 2, dropout: float = 0.0) -> SASRec:
    drawn = torch_generator(4, "test-sasrec")
    return SASRec(COURSES, 8, heads, blocks, dropout, 6, generator=drawn)


def weights_of(model: SASRec, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {name: x.detach().to(dtype) for name, x in model.state_dict().items()}


def one_by_one(examples: Examples) -> list[Examples]:
    return [Examples(*own) for own in zip(*examples, strict=True)]


def test_loss_is_the_mean_over_real_pairs() -> None:
    """Scores (0, log 3): course 2 has 3/4. One pair says course 2, one course 1, one is none."""

    class Fixed(torch.nn.Module):
        def forward(self, courses: Tensor, row: Tensor, position: Tensor) -> Tensor:
            return torch.tensor([1.0, 3.0]).log().expand(len(row), 2)

    none = torch.zeros(3, dtype=torch.int64)
    label = torch.tensor([2, 1, 0])
    examples = Examples(torch.ones(1, 1), none, none, label, torch.ones(()), none, none)
    task_loss = recommender_loss(Fixed())
    assert task_loss({}, examples).item() == pytest.approx(-(log(3 / 4) + log(1 / 4)) / 2)
    assert task_loss({}, examples._replace(label=none)).item() == 0


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_meta_gradient_equals_plain_autograd(
    second_order: bool, dtype: torch.dtype, close: float
) -> None:
    model = sasrec()
    task_loss = recommender_loss(model)
    weights = weights_of(model)
    support, query = assemble(SUPPORT), assemble(QUERY)
    how = {"steps": 3, "inner_lr": 0.1, "second_order": second_order}
    expected_losses, expected = by_autograd(
        task_loss, weights, one_by_one(support), one_by_one(query), **how
    )
    learner = DenseLearner(task_loss)
    losses, gradient, _ = meta_gradient(learner, weights_of(model, dtype), support, query, **how)
    assert losses.tolist() == pytest.approx(expected_losses.tolist(), rel=close)
    assert relative_error(gradient, expected) < close
    assert all(x.norm() > 0 for x in gradient.values())
    assert gradient["embedding.weight"][0].abs().max() == 0


def test_padding_and_later_courses_change_no_score() -> None:
    model = sasrec().double()
    row, position = torch.tensor([0, 0]), torch.tensor([0, 2])
    scores = model(torch.tensor([[3, 1, 4]]), row, position)
    for longer in ([[3, 1, 4, 0, 0]], [[3, 1, 4, 8, 2]], [[3, 1, 4, 0, 0], [5, 5, 5, 5, 5]]):
        torch.testing.assert_close(model(torch.tensor(longer), row, position), scores)
    changed = model(torch.tensor([[3, 2, 4]]), row, position)
    assert torch.equal(changed[0], scores[0])
    assert (changed[1] - scores[1]).abs().max() > 1e-3  # it does look at what went before


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
    learner = DenseLearner(recommender_loss(model))
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
