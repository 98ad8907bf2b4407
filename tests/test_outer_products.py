"""Sums of outer products equal the matrices they stand for; the layouts hold what they say."""

import pytest
import torch
from meta_helpers import Weights, assemble, gru_weights, pairs_of
from torch import Tensor

from benchmarks.ways import relative_error
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.meta import outer_products
from mooc_maml.meta.gru.packed import Packed, pack_examples
from mooc_maml.meta.gru.task_linear import TaskLinear
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.inner import adapt
from mooc_maml.meta.outer import meta_gradient
from mooc_maml.meta.outer_products import Matrices, Matrix, OuterSum, outer_sum
from mooc_maml.meta.rows import Rows

CPU = torch.device("cpu")
TASKS, IN, OUT = 3, 4, 5


def drawn(*shape: int, seed: int = 1) -> Tensor:
    draw = torch_generator(seed, f"test-outer-{shape}")
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def random_sum(rank: int, seed: int, bias: bool = True) -> OuterSum:
    inputs, outputs = drawn(TASKS, rank, IN, seed=seed), drawn(TASKS, rank, OUT, seed=seed)
    return OuterSum(Rows(inputs), Rows(outputs), drawn(TASKS, OUT, seed=seed) if bias else None)


def dense(x: OuterSum) -> Tensor:
    """Sum over j of outputs_j inputs_j^T, written as such: [tasks, out, in]."""
    return torch.einsum("tjo,tji->toi", x.outputs.tensor, x.inputs.tensor)


def test_two_by_two_by_hand() -> None:
    """(1, 2)^T (3, 4) + (0, 1)^T (1, -1) = [[3, 4], [7, 7]], and the bias is (10, 20)."""
    inputs, outputs = torch.tensor([[[3.0, 4], [1, -1]]]), torch.tensor([[[1.0, 2], [0, 1]]])
    x = OuterSum(Rows(inputs), Rows(outputs), torch.tensor([[10.0, 20]]))
    u = torch.tensor([[[1.0, 1], [0, 2]]])
    assert x.total().tolist() == [[3, 4], [7, 7]]
    assert x.apply(u).tolist() == [[[17, 34], [18, 34]]]
    assert x.apply(u, with_bias=False).tolist() == [[[7, 14], [8, 14]]]
    assert x.apply_transposed(u).tolist() == [[[10, 11], [14, 14]]]
    assert x.squared_norm().tolist() == [9 + 16 + 49 + 49 + 100 + 400]


def test_one_hot_by_hand() -> None:
    """Course 2 was met twice: its row is (1, 2) + (10, 20); course 1 once; course 3 never."""
    x = OuterSum(
        Rows(torch.tensor([[2, 1, 2]])), Rows(torch.tensor([[[1.0, 2], [5, 5], [10, 20]]]))
    )
    assert x.apply(torch.tensor([[3, 2, 1, 2]])).tolist() == [[[0, 0], [11, 22], [5, 5], [11, 22]]]
    assert x.total(4).tolist() == [[0, 0], [5, 5], [11, 22], [0, 0]]
    assert x.squared_norm().tolist() == [50 + 121 + 484]


def test_one_hot_rows_are_a_task_s_own() -> None:
    rows = torch.tensor([[[1.0]], [[2.0]]])
    x = OuterSum(Rows(torch.tensor([[1], [1]])), Rows(rows))
    assert x.apply(torch.tensor([[1], [1]])).tolist() == [[[1]], [[2]]]
    assert x.total(2).tolist() == [[0], [3]]


@pytest.mark.parametrize("bias", [True, False])
def test_everything_equals_dense_matrices(bias: bool) -> None:
    a, b = random_sum(2, 1, bias), random_sum(3, 2, bias)
    c = a.plus(b, -0.5)
    matrix = dense(a) - 0.5 * dense(b)
    own_bias = a.bias - 0.5 * b.bias if bias else torch.zeros(TASKS, OUT)
    u, d = drawn(TASKS, 6, IN), drawn(TASKS, 6, OUT)
    product = u @ matrix.mT
    torch.testing.assert_close(c.apply(u), product + own_bias[:, None])
    torch.testing.assert_close(c.apply(u, with_bias=False), product)
    torch.testing.assert_close(c.apply_transposed(d), d @ matrix)
    torch.testing.assert_close(c.total(), matrix.sum(0))
    norm = matrix.square().sum((1, 2)) + own_bias.square().sum(1)
    torch.testing.assert_close(c.squared_norm(), norm)


def test_zero_is_zero() -> None:
    zero, x = OuterSum(), random_sum(2, 1)
    assert zero.is_zero
    assert zero.apply(drawn(TASKS, 1, IN)) is None
    assert zero.apply_transposed(drawn(TASKS, 1, OUT)) is None
    double = zero.plus(x, 2.0)
    assert not double.is_zero
    torch.testing.assert_close(dense(double), 2 * dense(x))
    torch.testing.assert_close(double.bias, 2 * x.bias)


def test_one_task_alone_is_a_matrix_and_all_else_the_same() -> None:
    parts = [[drawn(1, 3, n, seed=seed) for n in (IN, OUT)] for seed in (1, 2)]
    biases = drawn(1, OUT, seed=1), drawn(1, OUT, seed=2)
    rows = [(Rows(u), Rows(d), b) for (u, d), b in zip(parts, biases, strict=True)]
    low, alone = ([make(*x) for x in rows] for make in (OuterSum, outer_sum))
    assert all(isinstance(x, Matrix) for x in alone)
    expected, u, d = low[0].plus(low[1], -0.5), drawn(1, 6, IN), drawn(1, 6, OUT)
    for first, second in ((alone[0], alone[1]), (low[0], alone[1]), (alone[0], low[1])):
        found = first.plus(second, -0.5)
        assert isinstance(found, Matrix)
        torch.testing.assert_close(found.apply(u), expected.apply(u))
        torch.testing.assert_close(found.apply_transposed(d), expected.apply_transposed(d))
        torch.testing.assert_close(found.total(), expected.total())
        torch.testing.assert_close(found.squared_norm(), expected.squared_norm())
    double = OuterSum().plus(alone[0], 2.0)
    torch.testing.assert_close(double.total(), 2 * low[0].total())
    torch.testing.assert_close(double.bias, 2 * low[0].bias)
    several = Rows(drawn(TASKS, 1, IN)), Rows(drawn(TASKS, 1, OUT)), drawn(TASKS, OUT)
    assert isinstance(outer_sum(*several), OuterSum)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tasks have matrices of their own."""
    monkeypatch.setattr(outer_products, "wants_matrices", lambda device: True)


def test_only_off_the_cpu_several_tasks_have_matrices() -> None:
    assert not outer_products.wants_matrices(CPU)
    assert outer_products.wants_matrices(torch.device("cuda"))


@pytest.mark.usefixtures("as_on_a_gpu")
def test_matrices_are_the_sums_they_are_made_of() -> None:
    low = [random_sum(2, 1), random_sum(3, 2)]
    own = [outer_sum(x.inputs, x.outputs, x.bias) for x in low]
    assert all(isinstance(x, Matrices) for x in own)
    u, d = drawn(TASKS, 6, IN), drawn(TASKS, 6, OUT)
    expected = low[0].plus(low[1], -0.5)
    for first, second in ((own[0], own[1]), (low[0], own[1]), (own[0], low[1])):
        found = first.plus(second, -0.5)
        assert isinstance(found, Matrices)
        torch.testing.assert_close(found.weight, dense(expected))
        torch.testing.assert_close(found.apply(u), expected.apply(u))
        torch.testing.assert_close(found.apply_transposed(d), expected.apply_transposed(d))
        torch.testing.assert_close(found.total(), expected.total())
        torch.testing.assert_close(found.squared_norm(), expected.squared_norm())
        for one, two in zip(first.products(second), low[0].products(low[1]), strict=True):
            torch.testing.assert_close(one, two)
    double = OuterSum().plus(own[0], 2.0)
    torch.testing.assert_close(double.total(), 2 * low[0].total())
    torch.testing.assert_close(double.scaled(0.5, 3.0).bias, 6 * low[0].bias)
    assert double.scaled(None, None).squared_norm().tolist() == [0] * TASKS
    moved = own[0].plus(OuterSum(), 1.0)  # of no change at all
    torch.testing.assert_close(moved.total(), low[0].total())


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_meta_gradient_with_matrices_is_the_same(
    monkeypatch: pytest.MonkeyPatch, layers: int, second_order: bool
) -> None:
    """Also with step sizes by parameter, which are learned; and how far the weights move."""
    support = assemble([pairs_of([1, 2, 1, 3, 4]) + pairs_of([5, 6]), pairs_of([7, 2])])
    query = assemble([pairs_of([3, 1, 2]), pairs_of([2, 7, 2]) + pairs_of([4, 3, 6, 1])])
    learner, weights = GRUTaskModel(CPU, torch.float64), gru_weights(7, layers)
    rates = [{name: torch.tensor(0.1 + 0.01 * i) for i, name in enumerate(weights)}]

    def solved() -> list[Weights]:
        how = {"steps": 3, "second_order": second_order}
        plain = meta_gradient(learner, weights, support, query, inner_lr=0.3, **how)
        along = meta_gradient(
            learner, weights, support, query, inner_lr=rates, step_weights=[0.2, 0.3, 0.5], **how
        )
        fast, _ = adapt(learner, weights, learner.prepare(support), 2, 0.3)
        moved = learner.relative_changes(weights, fast)
        return [plain.weights, along.weights, *along.rates, moved, {"losses": plain.losses}]

    expected = solved()
    monkeypatch.setattr(outer_products, "wants_matrices", lambda device: True)
    for found, true in zip(solved(), expected, strict=True):
        assert relative_error(found, true) < 1e-12


def test_a_bias_alone_acts_on_every_row() -> None:
    bias, u = drawn(TASKS, OUT), drawn(TASKS, 6, IN)
    own = OuterSum(bias=bias)
    assert torch.equal(own.apply(u), bias[:, None].expand(TASKS, 6, OUT))
    assert own.apply(u, with_bias=False) is None


def test_blocks_lie_side_by_side() -> None:
    blocks = drawn(TASKS, 2, IN, seed=1), drawn(TASKS, 1, IN, seed=2)
    merged = Rows(*blocks)
    assert torch.equal(merged.tensor, torch.cat(blocks, 1))
    more = Rows(drawn(TASKS, 2, IN, seed=3))
    assert torch.equal(merged.appended(more, 3.0).tensor, torch.cat([*blocks, 3 * more.tensor], 1))
    outputs = drawn(TASKS, 2, OUT, seed=1), drawn(TASKS, 1, OUT, seed=2)
    parts = [dense(OuterSum(Rows(i), Rows(o))) for i, o in zip(blocks, outputs, strict=True)]
    torch.testing.assert_close(dense(OuterSum(merged, Rows(*outputs))), sum(parts))


def test_appending_leaves_all_earlier_rows_as_they_were() -> None:
    """Also where two continue the same rows, and long after the buffer was full."""
    rows, seen = Rows(), []
    for step in range(40):
        block = drawn(2, 1 + step % 3, IN, seed=step)
        aside = rows.appended(Rows(block + 100))
        before = rows
        rows = rows.appended(Rows(block), 0.5)
        expected = 0.5 * block if step == 0 else torch.cat([before.tensor, 0.5 * block], 1)
        assert torch.equal(rows.tensor, expected)
        assert torch.equal(aside.tensor[:, -block.shape[1] :], block + 100)
        seen += [(x, x.tensor.clone()) for x in (rows, aside)]
    assert all(torch.equal(x.tensor, copy) for x, copy in seen)


@pytest.mark.parametrize("steps", [0, 2])
def test_a_layer_with_own_weights_is_its_sum(steps: int) -> None:
    own = OuterSum()
    for step in range(steps):
        own = own.plus(random_sum(2, step), -0.1)
    weight, bias, u, d = drawn(OUT, IN), drawn(OUT), drawn(TASKS, 6, IN), drawn(TASKS, 6, OUT)
    layer = TaskLinear(weight, bias, own)
    full = weight + (dense(own) if steps else torch.zeros(TASKS, OUT, IN))
    full_bias = bias + (own.bias if steps else torch.zeros(TASKS, OUT))
    torch.testing.assert_close(layer.affine(u), u @ full.mT + full_bias[:, None])
    torch.testing.assert_close(layer.product(u), u @ full.mT)
    torch.testing.assert_close(layer.transposed(d), d @ full)


def test_own_weights_are_what_gradient_descent_makes_of_the_weights() -> None:
    """After each step W_0 + the task's sum is the dense W of a task that is adapted alone."""
    weights, learner = gru_weights(7), GRUTaskModel(CPU, torch.float64)
    tasks = [pairs_of([1, 2, 1, 3]), pairs_of([4, 5]) + pairs_of([6, 4, 6])]
    support = learner.prepare(assemble(tasks))
    fast, _ = adapt(learner, weights, support, 3, 0.3)
    for number, task in enumerate(tasks):
        alone, own = weights, learner.prepare(assemble([task]))
        for _ in range(3):
            _, gradient, _ = learner.gradient(learner.initial(alone, own), own)
            moves = gradient.sum_over_tasks()
            alone = {name: x - 0.3 * moves[name] for name, x in alone.items()}
        for name, x in fast.own.sums.items():
            inputs, outputs = x.inputs.tensor[number, None], x.outputs.tensor[number, None]
            size = 8 if name == "embedding.weight" else None
            total = OuterSum(Rows(inputs), Rows(outputs)).total(size)
            torch.testing.assert_close(weights[name] + total, alone[name])


def one_row_a_pair(examples: Examples) -> Examples:
    """The same pairs, each with a row of its own that ends with its prefix."""
    tasks, pairs = examples.row.shape
    courses = torch.zeros(tasks, pairs, examples.courses.shape[2], dtype=torch.int64)
    for task in range(tasks):
        for pair in range(pairs):
            if examples.label[task, pair]:
                end = int(examples.position[task, pair]) + 1
                courses[task, pair, :end] = examples.courses[task, examples.row[task, pair], :end]
    rows = torch.arange(pairs).expand(tasks, pairs)
    return examples._replace(courses=courses, row=rows)


@pytest.mark.parametrize("layers", [1, 2])
def test_one_pass_a_session_equals_one_pass_a_prefix(layers: int) -> None:
    shared = [
        assemble([pairs_of([1, 2, 1, 3, 4]) + pairs_of([5, 6]), pairs_of([7, 2])]),
        assemble([pairs_of([3, 1, 2]), pairs_of([2, 7, 2]) + pairs_of([4, 3, 6, 1])]),
    ]
    alone = [one_row_a_pair(examples) for examples in shared]
    assert [x.courses.shape[1] for x in shared] == [2, 2]
    assert [x.courses.shape[1] for x in alone] == [5, 5]
    learner, weights = GRUTaskModel(CPU, torch.float64), gru_weights(7, layers)
    how = {"steps": 2, "inner_lr": 0.3, "second_order": True}
    losses, gradient, _ = meta_gradient(learner, weights, *shared, **how)
    other_losses, other, _ = meta_gradient(learner, weights, *alone, **how)
    torch.testing.assert_close(losses, other_losses, rtol=1e-13, atol=0)
    assert relative_error(gradient, other) < 1e-12


@pytest.fixture
def layout() -> Packed:
    """Two tasks: sessions 1 2 and 3 4 5 of the first, 6 of the second.

    Longest first, times side by side: 3 1 6 | 4 2 | 5.
    """
    courses = torch.tensor([[[1, 2, 0], [3, 4, 5]], [[6, 0, 0], [0, 0, 0]]])
    row, position = torch.tensor([[0, 1, 1], [0, 0, 0]]), torch.tensor([[1, 0, 2], [0, 0, 0]])
    label = torch.tensor([[9, 8, 7], [5, 0, 0]])
    none = torch.zeros_like(row)
    examples = Examples(courses, row, position, label, torch.ones(2), row, none)
    return pack_examples(examples, CPU, torch.float64)


def test_layout_by_hand(layout: Packed) -> None:
    packed = torch.tensor([3.0, 1, 6, 4, 2, 5], dtype=torch.float64)[:, None]
    assert layout.sizes == [3, 2, 1]
    assert layout.courses.tolist() == [[1, 2, 3, 4, 5], [6, 0, 0, 0, 0]]
    grouped = layout.group_zero(packed)
    assert grouped.squeeze(2).tolist() == layout.courses.tolist()
    assert layout.mask is not None
    assert layout.mask.squeeze(2).tolist() == [[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]
    assert torch.equal(layout.pack(grouped), packed)
    assert layout.before(packed).flatten().tolist() == [0, 0, 0, 3, 1, 4]
    assert layout.session_task.tolist() == [0, 0, 1]
    assert packed[layout.pair_step].flatten().tolist()[:4] == [2, 3, 5, 6]
    assert layout.pair_weight.tolist() == [[1 / 3] * 3, [1, 0, 0]]
    assert layout.target.squeeze(2)[layout.pair_weight > 0].tolist() == [8, 7, 6, 4]


def test_packing_forgets_nothing_but_padding(layout: Packed) -> None:
    x = drawn(6, 2)
    assert torch.equal(layout.pack(layout.group(x)), x)
    assert torch.equal(layout.pack(layout.group_zero(x)), x)
    assert layout.mask is not None
    assert torch.equal(layout.group(x) * layout.mask, layout.group_zero(x))
    assert layout.group_zero(x)[1, 1:].abs().max() == 0


def test_without_padding_there_is_no_mask() -> None:
    courses, none = torch.tensor([[[1, 2]], [[3, 4]]]), torch.zeros(2, 1, dtype=torch.int64)
    label = torch.tensor([[5], [6]])
    examples = Examples(courses, none, none + 1, label, torch.ones(2), none, none)
    own = pack_examples(examples, CPU, torch.float64)
    x = drawn(4, 2)  # 1 3 2 4
    assert own.mask is None
    assert torch.equal(own.group_zero(x), x[torch.tensor([[0, 2], [1, 3]])])


def test_views_one_step_earlier_write_through(layout: Packed) -> None:
    packed = torch.tensor([3.0, 1, 6, 4, 2, 5])
    views = layout.split_before(packed)
    assert [view.tolist() for view in views] == [[], [3, 1], [4]]
    views[1] += 10
    assert packed.tolist() == [13, 11, 6, 4, 2, 5]
