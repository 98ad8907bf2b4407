"""The models of a bundle as they are asked: both lists are those asked one after the other."""

import pytest
import torch
from meta_helpers import gru_weights
from test_pointer import COURSES, batch
from training_helpers import CPU, tiny_params

from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.variants import variant_of
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter
from mooc_maml.recommend.served import ServedMeta


@pytest.mark.parametrize("points", [None, "added", "mixed"])
@pytest.mark.parametrize("seen", [NONE_LEFT_OUT, SeenFilter(True, True, None)], ids=["keep", "out"])
@pytest.mark.parametrize("steps", [None, 0, 2])
def test_both_are_before_and_after(points: str | None, seen: SeenFilter, steps: int | None) -> None:
    weights, (support, query) = gru_weights(COURSES), batch()
    if points is not None:
        start = torch.linspace(0.4, 1, 5 if points == "mixed" else 3, dtype=torch.float64)
        weights |= {"pointer.bias": start}
    learner = GRUTaskModel(CPU, torch.float64, seen, points=points)
    served = ServedMeta(learner, weights, variant_of(tiny_params()), zero_shot=False)
    before, after = served.both(support, query, steps)
    torch.testing.assert_close(before, served.before(query))
    torch.testing.assert_close(after, served.after(support, query, steps))
    assert torch.equal(before, after) == (steps == 0)
