import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from meta_helpers import gru_pair_scores

from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import torch_generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.models.gru import GRURecommender, read_model, write_model


def small(seed: int = 1, **changes: float) -> GRURecommender:
    settings = {"num_courses": 7, "embedding_dim": 3, "hidden_dim": 4, "layers": 1, **changes}
    return GRURecommender(**settings, generator=torch_generator(seed, "test"))


def test_parameter_count_of_the_study():
    model = GRURecommender(343, 64, 128)
    # embeddings + the GRU's three gates (input, state, two biases) + head; padding row apart
    expected = 343 * 64 + 3 * (128 * 64 + 128 * 128 + 2 * 128) + (343 * 128 + 343)
    assert expected == 140_695
    assert sum(weight.numel() for weight in model.parameters()) - 64 == expected


def test_initial_weights_come_from_the_generator_alone():
    state = torch.random.get_rng_state()
    first, again, other = small(1), small(1), small(2)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
        assert not torch.equal(weight, other.state_dict()[name])


def test_initial_weights_have_torch_s_distributions():
    model = GRURecommender(2000, 50, 64, generator=torch_generator(1, "test")).requires_grad_(False)
    assert (model.embedding.weight[0] == 0).all()
    assert model.embedding.weight[1:].std() == pytest.approx(1, abs=0.02)
    assert model.embedding.weight[1:].mean() == pytest.approx(0, abs=0.02)
    for weight in [*model.gru.parameters(), *model.head.parameters()]:
        assert weight.abs().max() <= 1 / 8  # 1 / sqrt(64)
        assert weight.std() == pytest.approx(1 / 8 / 3**0.5, rel=0.15)  # of U(-b, b): b / sqrt(3)


def test_padding_row_never_learns_and_padding_never_matters():
    model = small()
    rows = torch.tensor([[3, 1, 0, 0], [2, 5, 6, 1]])
    scores = model(rows, torch.tensor([0, 1, 1]), torch.tensor([1, 0, 3]))  # [3 pairs, 7]
    torch.testing.assert_close(
        scores[0], model.scores(model.hidden(torch.tensor([3, 1])[None]))[0, 1]
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    scores.square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
    optimiser.step()
    assert (model.embedding.weight[0] == 0).all()


def test_state_sees_nothing_later():
    model = small()
    one, two = torch.tensor([[3, 1, 2, 4]]), torch.tensor([[3, 1, 6, 5]])
    torch.testing.assert_close(model.hidden(one)[:, :2], model.hidden(two)[:, :2])
    assert not torch.allclose(model.hidden(one)[:, 2], model.hidden(two)[:, 2])


def test_pair_scores_are_those_of_each_prefix_alone():
    model = small(layers=2)
    examples = Examples(
        courses=torch.tensor([[[3, 1, 2], [4, 5, 0]], [[7, 7, 0], [0, 0, 0]]]),
        row=torch.tensor([[0, 0, 1], [0, 0, 0]]),
        position=torch.tensor([[0, 2, 1], [1, 0, 0]]),
        label=torch.tensor([[1, 4, 6], [3, 0, 0]]),
        reliability=torch.ones(2),
        session=torch.tensor([[0, 0, 1], [0, 0, 0]]),
        offset=torch.zeros(2, 3, dtype=torch.int64),
    )
    scores = gru_pair_scores(model, examples)
    assert scores.shape == (2, 3, 7)
    prefixes = {(0, 0): [3], (0, 1): [3, 1, 2], (0, 2): [4, 5], (1, 0): [7, 7]}
    for (task, pair), prefix in prefixes.items():
        alone = model.scores(model.hidden(torch.tensor(prefix)))[-1]
        torch.testing.assert_close(scores[task, pair], alone)


def test_dropout_only_with_a_generator():
    model = small(dropout=0.5, embedding_dim=64)
    rows = torch.tensor([[1, 2, 3]])
    assert torch.equal(model.hidden(rows), model.hidden(rows))
    dropped = model.hidden(rows, torch_generator(1, "d"))
    assert torch.equal(dropped, model.hidden(rows, torch_generator(1, "d")))
    assert not torch.allclose(dropped, model.hidden(rows))
    assert torch.equal(small().hidden(rows, torch_generator(1, "d")), small().hidden(rows))


def test_file_round_trip_same_bytes_and_weights_only(tmp_path: Path):
    model = small().double()
    write_model(tmp_path / "a.pth", model, {"seed": 3})
    write_model(tmp_path / "b.pth", model, {"seed": 3})
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert content["settings"] == {"seed": 3, "model": model.settings}
    again = read_model(tmp_path / "a.pth", num_courses=7)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_unusable_files_are_named(tmp_path: Path):
    path = tmp_path / "gru.pth"
    with pytest.raises(UserError, match=r"gru\.pth: no such file; run `dvc repro`"):
        read_model(path)
    write_model(path, small())
    whole = path.read_bytes()
    with pytest.raises(UserError, match="ranks 7 courses, the data have 9"):
        read_model(path, num_courses=9)
    weight = whole.index(small().state_dict()["head.bias"].numpy().tobytes())
    one_bit = whole[:weight] + bytes([whole[weight] ^ 4]) + whole[weight + 1 :]
    for damaged in (b"", b"no model", b"\x80\x04abc", whole[: len(whole) // 2], one_bit):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="not a model file"):
            read_model(path)
    for content in ({"a": 1}, [1], {"weights": {}, "settings": {"model": small().settings}}):
        torch.save(content, path)
        with pytest.raises(UserError, match="expected weights and settings of a GRU"):
            read_model(path)
    other = {"weights": small().state_dict(), "settings": {"model": small(hidden_dim=5).settings}}
    torch.save(other, path)
    with pytest.raises(UserError, match="size mismatch"):
        read_model(path)


def test_making_one_does_not_load_the_compiler() -> None:
    """Seconds of every start that nothing needs; see `unset_embedding` and `make_room`."""
    code = (
        "import sys; from mooc_maml.models.gru import GRURecommender; "
        "from mooc_maml.models.transformer import SASRec; GRURecommender(3, 2, 2); "
        "SASRec(3, dim=2, heads=1, blocks=1, dropout=0.0, max_length=3); "
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )
