"""A mixture of probabilities, against numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from episode_helpers import params, small_store
from test_counting_baselines import pairs
from torch import Tensor

from mooc_maml.baselines.base import Parts
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.markov import Markov
from mooc_maml.baselines.v_sknn import VSKNN
from mooc_maml.composites.blend import Blend, mixtures
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter
from mooc_maml.settings.params import Params

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


def parts_of(store: EpisodeStore, settings: Params) -> Parts:
    return {
        "gru": GRUBaseline(GRUBaseline.build(store, settings), []),
        "markov": Markov.train(store, settings, CPU, print),
        "v_sknn": VSKNN.train(store, settings, CPU, print),
    }


class Fixed:
    """Says the same of every query."""

    reads_support = False
    law = "shares"

    def __init__(self, values: list[float]) -> None:
        self.values = torch.tensor(values)

    def scores(self, support: Examples, query: Examples) -> Tensor:
        return self.values.expand(*query.label.shape, -1)


class FixedGRU(Fixed):
    """The same as logarithms, like the GRU's."""

    law = "logits"


def test_weights_are_tenths_that_add_up_to_1() -> None:
    found = mixtures(3)
    assert len(found) == len(set(found)) == 66  # 12 x 11 / 2
    assert found[0] == (1, 0, 0)
    assert all(sum(weights) == pytest.approx(1) for weights in found)


def test_mixture_by_hand() -> None:
    gru = FixedGRU((np.log([0.1, 0.2, 0.7]) + 3).tolist())  # logarithms, up to a constant
    parts = {"gru": gru, "markov": Fixed([0.5, 0.5, 0.0]), "v_sknn": Fixed([0.0, 1.0, 0.0])}
    query = small_store().query("test", np.arange(2))
    found = Blend(parts, (0.5, 0.3, 0.2), NONE_LEFT_OUT, 3, []).scores(query, query)
    assert found.shape == (2, 3, 3)
    # 0.05 + 0.15 + 0, 0.1 + 0.15 + 0.2, 0.35
    torch.testing.assert_close(found[1, 2], torch.tensor([0.2, 0.45, 0.35]), atol=1e-6, rtol=0)


def test_of_what_is_left_out_a_part_s_probability_goes_to_the_others() -> None:
    """Here course 3, in the prefix, on which the parts waste 7/10, 0 and 1."""
    gru = FixedGRU(np.log([0.1, 0.2, 0.7]).tolist())
    parts = {"gru": gru, "markov": Fixed([0.5, 0.5, 0.0]), "v_sknn": Fixed([0.0, 0.0, 1.0])}
    query, taken = pairs([([3], 1)]), SeenFilter(True, False, None)
    found = Blend(parts, (0.5, 0.3, 0.2), taken, 3, []).scores(query, query)
    expected = torch.tensor([0.5 / 3 + 0.15, 1 / 3 + 0.15, 0])
    torch.testing.assert_close(found[0, 0], expected, atol=1e-6, rtol=0)


def test_the_weights_are_the_best_by_validation() -> None:
    store, settings = small_store(), params()
    parts = parts_of(store, settings)
    found = Blend.train(store, settings, CPU, lambda _: None, parts)

    def value(weights: tuple[float, ...]) -> float:
        score = Blend(parts, weights, NONE_LEFT_OUT, store.num_courses, []).scores
        ranks = query_ranks(score, store, "validation", tasks_at_once=4, device=CPU)
        return summary(ranks)["NDCG@10"]

    values = [value(weights) for weights in mixtures(3)]
    assert len(set(values)) > 1
    assert found.weights == mixtures(3)[int(np.argmax(values))]
    assert found.history[0]["validation"]["NDCG@10"] == pytest.approx(max(values))
    assert found.history[0]["weights"].keys() == {"gru", "markov", "v_sknn"}


def test_the_weights_are_the_same_where_memory_takes_halves(capsys) -> None:
    """Its GRU has memory for three learners at a time."""
    store, settings = small_store(), params()
    parts = parts_of(store, settings)
    expected = Blend.train(store, settings, CPU, lambda _: None, parts)
    gru, whole = parts["gru"], parts["gru"].scores

    def little(support: Examples, query: Examples) -> Tensor:
        if query.num_tasks > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(support, query)

    gru.scores = little  # type: ignore[method-assign]
    found = Blend.train(store, settings, CPU, lambda _: None, parts)
    assert "tasks together; 3 from now on" in capsys.readouterr().err
    assert found.history == expected.history


def test_all_weight_on_one_part_is_that_part_also_from_its_file(tmp_path: Path) -> None:
    store, settings = small_store(), params()
    parts = parts_of(store, settings)
    Blend(parts, (0.0, 1.0, 0.0), NONE_LEFT_OUT, store.num_courses, []).write(tmp_path / "b.npz")
    again = Blend.read(tmp_path / "b.npz", store.num_courses, CPU, parts)
    support, query = store.support("test", np.arange(2)), store.query("test", np.arange(2))
    expected = parts["markov"].scores(support, query).float()
    torch.testing.assert_close(again.scores(support, query), expected)


def test_what_is_left_out_is_known_from_the_file(tmp_path: Path) -> None:
    store, settings = small_store(), params()
    taken = SeenFilter(False, True, None)
    blend = Blend(parts_of(store, settings), (0.0, 1.0, 0.0), taken, store.num_courses, [])
    blend.write(tmp_path / "b.npz")
    again = Blend.read(tmp_path / "b.npz", store.num_courses, CPU, blend.parts)
    assert again.seen == taken


def test_every_part_gives_probabilities() -> None:
    store, settings = small_store(), params()
    query = store.query("test", np.arange(2))
    blend = Blend(parts_of(store, settings), (), NONE_LEFT_OUT, store.num_courses, [])
    for each in blend.probabilities(query, query):
        torch.testing.assert_close(each.sum(-1), torch.ones(2, 3), atol=1e-5, rtol=0)


def test_of_several_grus_one_is_taken_in_a_fixed_order() -> None:
    store, settings = small_store(), params()
    parts = parts_of(store, settings)
    plain = Blend(parts, (), NONE_LEFT_OUT, store.num_courses, [])
    assert list(plain.parts) == ["gru", "markov", "v_sknn"]
    for better in ("gru_tuned", "gru_tuned_with_history"):
        parts = {**parts, better: FixedGRU([0.0] * store.num_courses)}
        found = Blend(parts, (), NONE_LEFT_OUT, store.num_courses, []).parts
        assert list(found) == [better, "markov", "v_sknn"]
        assert found[better] is parts[better]
