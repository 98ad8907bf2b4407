"""What scores say as probabilities: by hand, and that what is ranked is what the loss trains."""

from typing import Any

import numpy as np
import pytest
import torch
from test_seen_losses import AUTO
from test_seen_losses import STORE as NO_REPEATS
from torch import Tensor
from training_helpers import CPU, STORE, run, tiny_params

from mooc_maml.baselines.base import Baseline
from mooc_maml.composites.features import features_of, part_scores
from mooc_maml.composites.pool import Pool
from mooc_maml.composites.pooling import PoolTaskModel
from mooc_maml.composites.registry import MODELS
from mooc_maml.meta.model import MetaModel
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.meta.variants import VARIANTS, variant_of
from mooc_maml.ranking import query_ranks as ranking
from mooc_maml.ranking.law import Law, probabilities
from mooc_maml.ranking.query_ranks import query_answers
from mooc_maml.ranking.seen import NONE_LEFT_OUT, seen_filter

pytestmark = pytest.mark.usefixtures("one_thread")
EVERY = torch.arange(1, 5)
OUT, NO_NUMBER = -torch.inf, torch.nan
NO_LAW = {"random", "item_knn", "repeat"}


@pytest.mark.parametrize(
    ("law", "scores", "expected"),
    [
        ("logits", [0.0, np.log(2), np.log(5), OUT], [1 / 8, 2 / 8, 5 / 8, 0]),
        ("logits", [-7.0, NO_NUMBER, OUT, -7.0], [1 / 2, 0, 0, 1 / 2]),
        ("logits", [np.log(0.1), np.log(0.2), np.log(0.3), np.log(0.4)], [0.1, 0.2, 0.3, 0.4]),
        ("logits", [900.0, 0.0, 0.0, 0.0], [1, 0, 0, 0]),  # no overflow
        ("logits", [OUT] * 4, [0] * 4),
        ("shares", [3.0, 0.0, 1.0, OUT], [3 / 4, 0, 1 / 4, 0]),
        ("shares", [NO_NUMBER, 0.2, 0.2, 0.1], [0, 0.4, 0.4, 0.2]),
        ("shares", [OUT, 0.0, 0.0, 0.0], [0] * 4),
    ],
)
def test_probabilities_by_hand(law: Law, scores: list[float], expected: list[float]) -> None:
    found = probabilities(torch.tensor(scores, dtype=torch.float64), EVERY, law)
    assert found.tolist() == pytest.approx(expected)


def test_counts_are_shares_and_any_courses_can_be_asked_for() -> None:
    counts = torch.tensor([[[6, 3, 0, 1]], [[0, 0, 2, 0]]])
    asked = torch.tensor([[[4, 1]], [[3, 3]]])
    assert probabilities(counts, asked, "shares").tolist() == [[[0.1, 0.6]], [[1.0, 1.0]]]


def test_what_orders_courses_alone_states_no_law_and_what_is_trained_states_logits() -> None:
    own = {name: model.law for name, model in MODELS.items()}
    assert {name for name, law in own.items() if law is None} == NO_LAW
    counted = {"popularity", "markov", "v_sknn", "blend"}
    assert {name for name, law in own.items() if law == "shares"} == counted
    assert {law for name, law in own.items() if "gru" in name or "sasrec" in name} == {"logits"}


def quick() -> Any:
    """Every model, after as little training as there can be."""
    once = {"epochs": 1}
    return {
        "baselines": {"gru": once, "gru_tuned": once, "sasrec": once},
        "composites": {
            "mixture": {"updates": 2, "learners": 3},
            "gru_further": {"epochs": 1, "updates": 1, "batch_size": 2},
            "gru_fine_tuned": {"rates": (0.1,), "steps": (2,)},
        },
    }


@pytest.fixture(scope="module")
def trained() -> dict[str, Baseline]:
    """Where no course comes again."""
    params = tiny_params(**quick(), **AUTO)
    found: dict[str, Baseline] = {}
    for name, kind in MODELS.items():
        found[name] = kind.train(NO_REPEATS, params, CPU, lambda _: None, found)
    return found


@pytest.mark.parametrize("name", [name for name in MODELS if name not in NO_LAW])
@pytest.mark.parametrize("leaves_out", [True, False])
def test_the_probabilities_of_all_courses_add_up_to_1(
    trained: dict[str, Baseline], name: str, leaves_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FIRST", NO_REPEATS.num_courses)
    seen = seen_filter(NO_REPEATS, tiny_params(**AUTO)) if leaves_out else NONE_LEFT_OUT
    model = trained[name]
    how: Any = {"tasks_at_once": 3, "device": CPU, "law": model.law}
    found = query_answers(seen.without(model.scores), NO_REPEATS, "test", **how)
    first, true = found.first_probabilities, found.true_probability
    assert first is not None
    assert true is not None
    np.testing.assert_allclose(first.sum(-1), 1, rtol=1e-5)
    assert (np.diff(first, axis=-1) <= 0).all(), "the ranking is that of the law"
    place = found.ranks[..., None] - 1  # every course is listed
    np.testing.assert_array_equal(np.take_along_axis(first, place, -1)[..., 0], true)
    assert ((first == 0).sum(-1) >= 1).all() or not leaves_out


@pytest.mark.parametrize("name", ["markov", "v_sknn", "blend"])
def test_shares_are_the_scores_themselves(trained: dict[str, Baseline], name: str) -> None:
    """Where nothing is left out, but that blend leaves out by itself."""
    own = np.arange(4)
    support, query = NO_REPEATS.support("test", own), NO_REPEATS.query("test", own)
    scores = trained[name].scores(support, query)
    every = torch.arange(1, 13).expand(*query.label.shape, -1)
    found = probabilities(scores, every, "shares")
    torch.testing.assert_close(found, scores.double(), rtol=0, atol=1e-6)


def test_the_law_of_the_pool_is_that_of_its_loss(trained: dict[str, Baseline]) -> None:
    pool, own = trained["pool"], np.arange(1)
    assert isinstance(pool, Pool)
    support, query = NO_REPEATS.support("test", own), NO_REPEATS.query("test", own)
    scores = pool.seen.without(pool.scores)(support, query)
    p = probabilities(scores, query.label[..., None], "logits")
    features = features_of(part_scores(pool.parts, support, query), pool.seen, support, query)
    task_model = PoolTaskModel()
    losses, *_ = task_model.gradient(task_model.initial(pool.weights, features), features)
    assert float(-p.log().mean()) == pytest.approx(float(losses.mean()), rel=1e-5)


def test_without_a_law_nothing_is_stated() -> None:
    def by_course(*of: Any) -> Tensor:
        return torch.arange(12.0).expand(*of[1].label.shape, 12)

    found = query_answers(by_course, STORE, "test", tasks_at_once=3, device=CPU)
    assert found.first_probabilities is None
    assert found.true_probability is None


SETTINGS: dict[str, dict[str, Any]] = {
    **{f"variant {name}": {"meta": {"variant": name}} for name in VARIANTS},
    "pointer": {"meta": {"pointer": 2.0}},
    "mixed pointer": {"meta": {"pointer": 2.0, "pointer_mixes": True}},
    "mixed pointer and ridge": {
        "meta": {"variant": "ridge", "pointer": 2.0, "pointer_mixes": True}
    },
    "transformer": {"model": {"backbone": "transformer"}},
}
_NO_QUERY_LOSS = ("variant reptile", "variant maml_plus_plus")  # what they train is said otherwise


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in _NO_QUERY_LOSS])
@pytest.mark.parametrize("leaves_out", [True, False])
def test_the_law_that_is_ranked_is_the_law_that_meta_training_is_of(
    name: str, leaves_out: bool
) -> None:
    """The query loss of a task is the mean of -ln p of its true courses."""
    params = tiny_params(**SETTINGS[name], **(AUTO if leaves_out else {}))
    store = NO_REPEATS if leaves_out else STORE
    trainer = run(MetaTrainer(store, params, CPU), 2)
    model, seen = MetaModel(trainer.task_model, trainer.weights, params), trainer.seen
    variant = variant_of(params)
    for task in range(3):
        own = np.array([task])
        support, query = store.support("test", own), store.query("test", own)
        prepared = model.task_model, trainer.weights, support
        losses, _ = variant.meta_gradient(*prepared, query, 0)
        scores = seen.without(model.scores())(support, query)
        p = probabilities(scores, query.label[..., None], MetaModel.law)
        assert float(-p.log().mean()) == pytest.approx(float(losses), rel=1e-9)
