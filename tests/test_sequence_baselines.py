"""Baselines that are a trained sequence model, and what they are told."""

from typing import Any

import numpy as np
import pytest
import torch
from episode_helpers import merged, params, small_store, steps
from meta_helpers import gru_pair_scores
from test_baselines import SMALL, circular_store, same_weights
from test_counting_baselines import pairs

from mooc_maml.baselines import sequence
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.gru_tuned import TunedGRU
from mooc_maml.baselines.gru_tuned_with_history import TunedGRUWithHistory
from mooc_maml.baselines.gru_with_history import GRUWithHistory
from mooc_maml.baselines.sasrec import SASRecBaseline
from mooc_maml.baselines.sasrec_with_history import SASRecWithHistory
from mooc_maml.baselines.sequence_training import SequenceTraining, pair_scores
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.composites.gru_fine_tuned import FineTunedGRU, Steps
from mooc_maml.composites.gru_further import FurtherGRU
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.shown_steps import shown_steps
from mooc_maml.episodes.store import EpisodeStore, sample_tasks
from mooc_maml.models.gru import GRURecommender
from mooc_maml.ranking.query_ranks import ScoreFunction, query_ranks, summary
from mooc_maml.ranking.seen import NONE_LEFT_OUT
from mooc_maml.runtime.saved_state import SavedState
from mooc_maml.settings.params import Params

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
OWN: dict[str, Any] = params().baselines.model_dump()
QUICK = {"epochs": 8, "batch_size": 32, "learning_rate": 0.02, "dropout": 0.1}
TUNED = {**OWN["gru_tuned"], **QUICK, "embedding_dim": 8, "hidden_dim": 16}
SASREC = {**OWN["sasrec"], **QUICK, "dim": 16}


def settings(**own: Any) -> Params:
    """`SMALL`, with the settings of some models changed."""
    of = {name: value for name, value in own.items() if name in SMALL["baselines"]}
    made_of = {name: value for name, value in own.items() if name not in of}
    return params(**merged(SMALL, {"baselines": of, "composites": made_of}))


def stop_after_two_updates(training: SequenceTraining, saved: SavedState) -> None:
    """Leave an epoch after its second update, with the state saved."""

    def stop() -> None:
        if training.within.updates == 2:
            saved.save(training.state())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train_epoch(stop)


def hits(score: ScoreFunction, store: EpisodeStore) -> float:
    return summary(query_ranks(score, store, "test", tasks_at_once=9, device=CPU))["HR@1"]


@pytest.mark.parametrize("kind", [TunedGRU, SASRecBaseline])
def test_the_rule_of_the_circle_is_learnt(kind) -> None:
    store = circular_store()
    found = kind.train(store, settings(gru_tuned=TUNED, sasrec=SASREC), CPU, lambda _: None)
    assert hits(found.scores, store) == 1.0


@pytest.mark.parametrize(
    ("validation", "epochs"),
    [([0.1, 0.2, 0.1, 0.2, 0.9, 0.9], 4), ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6)],
)
def test_training_stops_when_validation_no_longer_improves(monkeypatch, validation, epochs) -> None:
    values = iter(validation)
    monkeypatch.setattr(sequence, "validator", lambda *_: lambda _: {"NDCG@10": next(values)})
    own = {**TUNED, "epochs": 6, "patience": 2}
    found = TunedGRU.train(circular_store(), settings(gru_tuned=own), CPU, lambda _: None)
    assert [entry["validation"]["NDCG@10"] for entry in found.history] == validation[:epochs]


def test_the_tuned_gru_has_its_own_shape() -> None:
    model = TunedGRU.build(circular_store(), settings(gru_tuned=TUNED))
    assert model.settings["hidden_dim"] == 16
    assert model.settings["dropout"] == 0.1


def test_pairs_of_many_tasks_are_scored_like_one_at_a_time() -> None:
    store = small_store()
    query = store.query("test", np.arange(4))
    model = GRUBaseline.build(store, settings())
    found = pair_scores(model, query)
    torch.testing.assert_close(found, gru_pair_scores(model, query).detach())
    for task in range(4):
        own = pair_scores(model, query.tasks(task, task + 1))
        torch.testing.assert_close(found[task : task + 1], own)


def test_a_group_of_tasks_without_the_others_padding_is_scored_too() -> None:
    """Its courses are a slice of those of all tasks, not one block of memory."""
    store = small_store()
    query = store.query("test", np.arange(len(store.episodes["test"])))
    rows = (query.courses != 0).any(2).sum(1)
    few = (rows < rows.max()).nonzero().flatten().tolist()
    group = query.take(few)
    assert len(few) > 1
    assert not group.courses.is_contiguous()
    model = GRUBaseline.build(store, settings())
    torch.testing.assert_close(pair_scores(model, group), pair_scores(model, query)[few])


def test_a_transformer_is_read_at_the_last_course_of_each_prefix() -> None:
    """Whether the prefix has a row of its own or shares one that goes on."""
    store = small_store(episodes={"max_prefix_length": 50})
    own = settings(sasrec=SASREC)
    model = SASRecBaseline.build(store, own)
    label = torch.tensor([[2, 3]])
    courses, row = torch.tensor([[[5, 6, 7]]]), torch.tensor([[0, 0]])
    shared = Examples(courses, row, label - 1, label, torch.ones(1), row, row)
    alone = pairs([([5, 6], 2), ([5, 6, 7], 3)])
    torch.testing.assert_close(pair_scores(model, shared), pair_scores(model, alone))


# --- histories ----------------------------------------------------------------------------------


def test_training_with_history_taken_up_within_an_epoch_is_the_same(tmp_path) -> None:
    store, own = small_store(), settings(gru={"epochs": 2})
    whole = GRUWithHistory.train(store, own, CPU, lambda _: None)
    training, saved = GRUWithHistory.training(store, own, CPU), SavedState(tmp_path)
    stop_after_two_updates(training, saved)
    again = GRUWithHistory.resume(store, own, CPU, lambda _: None, saved)
    assert again.history == whole.history
    assert same_weights(again, whole)


def test_a_transformer_is_told_as_much_history_as_it_has_positions_for() -> None:
    """Four positions: of 1, 2, 3, 4, then 5 the first two are forgotten; counting begins at 3."""
    store = small_store()
    assert store.max_prefix_length == 4
    model = SASRecWithHistory.build(store, settings(sasrec=SASREC))
    found = SASRecWithHistory(model, []).scores(
        pairs([([1], 2, 7), ([1, 2, 3], 4, 7)]), pairs([([5], 6)])
    )
    separator = store.num_courses + 1
    by_hand = pair_scores(model, pairs([([3, 4, separator, 5], 6)]))
    torch.testing.assert_close(found, by_hand[..., :-1])
    assert found.shape[-1] == store.num_courses


@pytest.mark.parametrize("kind", [GRUWithHistory, TunedGRUWithHistory])
def test_a_gru_is_told_no_more_history_than_in_training_also_from_its_file(tmp_path, kind) -> None:
    """Its training shows four courses: of 1, 2, 3, 4, the separator and 5 the first two go."""
    store = small_store()
    baseline = kind(kind.build(store, settings(gru_tuned=TUNED)), [])
    baseline.write(tmp_path / "gru.pth")
    again = kind.read(tmp_path / "gru.pth", store.num_courses, CPU)
    separator = store.num_courses + 1
    by_hand = pair_scores(baseline.model, pairs([([3, 4, separator, 5], 6)]))[..., :-1]
    for found in (baseline, again):
        told = found.scores(pairs([([1], 2, 7), ([1, 2, 3], 4, 7)]), pairs([([5], 6)]))
        torch.testing.assert_close(told, by_hand)


@pytest.mark.parametrize(
    ("told_by", "kind"),
    [
        (GRUWithHistory, GRUBaseline),
        (TunedGRUWithHistory, TunedGRU),
        (SASRecWithHistory, SASRecBaseline),
    ],
)
def test_history_helps_where_the_answer_lies_in_an_earlier_session(told_by, kind) -> None:
    """A learner's every session: the learner's own course, 1, then that course again."""
    rng = np.random.default_rng(0)
    sessions = []
    for learner in range(120):
        own = int(rng.integers(2, 10))
        sessions += [(learner, 1000 * n, [1, own]) for n in range(6)]
    store, _ = build_episodes(steps(sessions, num_courses=9), params(**SMALL))
    own = settings(gru={"epochs": 10}, gru_tuned=TUNED, sasrec=SASREC)
    told = told_by.train(store, own, CPU, lambda _: None)
    plain = kind.train(store, own, CPU, lambda _: None)
    assert hits(told.scores, store) > 0.9
    assert hits(plain.scores, store) < 0.5


# --- fine-tuning --------------------------------------------------------------------------------


def by_hand(model: GRURecommender, support: Examples, query: Examples, rate: float) -> torch.Tensor:
    """Two steps of gradient descent for one task, the plain way."""
    own = GRURecommender(**model.settings)  # type: ignore[arg-type]
    own.load_state_dict(model.state_dict())
    for _ in range(2):
        scores = gru_pair_scores(own, support)[0]
        loss = torch.nn.functional.cross_entropy(scores, support.label[0] - 1)
        gradient = torch.autograd.grad(loss, list(own.parameters()))
        with torch.no_grad():
            for weight, slope in zip(own.parameters(), gradient, strict=True):
                weight -= rate * slope
    return gru_pair_scores(own, query).detach()


def test_fine_tuning_is_gradient_descent_on_the_support_pairs() -> None:
    store = small_store()
    model = GRUBaseline.build(store, settings())
    support, query = store.support("test", np.arange(3)), store.query("test", np.arange(3))
    found = FineTunedGRU(model, NONE_LEFT_OUT, Steps(0.3, 0.3, 2, "pairs"), []).scores(
        support, query
    )
    for task in range(3):
        one = slice(task, task + 1)
        own = by_hand(model, support.tasks(task, task + 1), query.tasks(task, task + 1), 0.3)
        torch.testing.assert_close(found[one], own, atol=1e-5, rtol=1e-4)
    assert (found - gru_pair_scores(model, query)).abs().max() > 0.01
    nothing = store.support("test", np.arange(3), 0)
    unadapted = FineTunedGRU(model, NONE_LEFT_OUT, Steps(0.3, 0.3, 2, "pairs"), []).scores(
        nothing, query
    )
    torch.testing.assert_close(unadapted, gru_pair_scores(model, query))


def test_fine_tuning_on_sessions_with_a_rate_of_the_output_bias() -> None:
    """By hand: a step of 3 for the bias and 0.3 for the rest, on all that the pairs show."""
    store = small_store()
    model = GRUBaseline.build(store, settings())
    support, query = store.support("test", np.arange(1)), store.query("test", np.arange(1))
    own = GRURecommender(**model.settings)  # type: ignore[arg-type]
    own.load_state_dict(model.state_dict())
    shown = shown_steps(support)
    loss = torch.nn.functional.cross_entropy(gru_pair_scores(own, shown)[0], shown.label[0] - 1)
    slopes = torch.autograd.grad(loss, list(own.parameters()))
    with torch.no_grad():
        for (name, weight), slope in zip(own.named_parameters(), slopes, strict=True):
            weight -= (3.0 if name == "head.bias" else 0.3) * slope
    how = Steps(0.3, 3.0, 1, "sessions")
    found = FineTunedGRU(model, NONE_LEFT_OUT, how, []).scores(support, query)
    torch.testing.assert_close(found, gru_pair_scores(own, query).detach(), atol=1e-5, rtol=1e-4)


def test_rate_and_steps_are_those_best_by_validation_and_stay_in_the_file(tmp_path) -> None:
    store = small_store()
    gru = GRUBaseline(GRUBaseline.build(store, settings()), [])
    one = {"bias_rates": (0.5,), "adapt_on": ("sessions",)}
    grid = {"rates": (1e-6, 0.5), "steps": (1, 4), **one}
    found = FineTunedGRU.train(
        store, settings(gru_fine_tuned=grid), CPU, lambda _: None, {"gru": gru}
    )
    tried = [(entry["rate"], entry["steps"]) for entry in found.history]
    assert tried == [(1e-6, 1), (1e-6, 4), (0.5, 1), (0.5, 4)]
    values = [entry["validation"]["NDCG@10"] for entry in found.history]
    assert (found.how.rate, found.how.steps) == tried[int(np.argmax(values))]
    assert len(set(values)) > 1
    found.write(tmp_path / "f.npz")
    again = FineTunedGRU.read(tmp_path / "f.npz", store.num_courses, CPU, {"gru": gru})
    assert again.how == found.how
    assert again.how[1:] == (0.5, found.how.steps, "sessions")


# --- further training ---------------------------------------------------------------------------


def further(**own: Any) -> Params:
    return settings(gru_further={"batch_size": 4, **own})


def a_gru(store: EpisodeStore) -> dict[str, GRUBaseline]:
    return {"gru": GRUBaseline(GRUBaseline.build(store, settings()), [])}


def test_further_training_goes_down_the_loss_of_all_pairs_of_a_meta_batch() -> None:
    """Two updates of Adam on the mean cross-entropy of K + Q pairs of four learners."""
    store, own = small_store(), further(epochs=1, updates=2, learning_rate=0.01)
    parts = a_gru(store)
    before = {name: x.clone() for name, x in parts["gru"].model.state_dict().items()}
    found = FurtherGRU.train(store, own, CPU, lambda _: None, parts)
    model = GRURecommender(**parts["gru"].model.settings)  # type: ignore[arg-type]
    model.load_state_dict(before)
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    rng, losses = generator(own.seed, "baseline-gru_further", 1), []
    for _ in range(2):
        tasks = sample_tasks(store, 4, rng)
        both = [store.support("train", tasks), store.query("train", tasks)]
        scores = torch.cat([gru_pair_scores(model, x).flatten(0, 1) for x in both])
        label = torch.cat([x.label.flatten() for x in both])
        assert len(label) == 4 * (store.support_size + store.query_size)
        losses.append(torch.nn.functional.cross_entropy(scores, label - 1))
        adam.zero_grad()
        losses[-1].backward()
        adam.step()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], weight, rtol=1e-4, atol=1e-6)
        assert torch.equal(parts["gru"].model.state_dict()[name], before[name]), "left as it was"
    mean = sum(loss.item() for loss in losses) / 2
    assert [entry["train_loss"] for entry in found.history] == [pytest.approx(mean, rel=1e-5)]


def test_further_training_taken_up_within_an_epoch_is_the_same(tmp_path) -> None:
    store, own = small_store(), further(epochs=2, updates=3)
    parts = a_gru(store)
    whole = FurtherGRU.train(store, own, CPU, lambda _: None, parts)
    training, saved = FurtherGRU.training(store, own, CPU, parts), SavedState(tmp_path)
    training.train_epoch()
    stop_after_two_updates(training, saved)
    lines: list[str] = []
    again = FurtherGRU.resume(store, own, CPU, lines.append, saved, parts)
    assert lines[0] == "gru_further: going on after epoch 1, update 2 of the next"
    assert again.history == whole.history
    assert same_weights(again, whole)


def test_too_few_learners_for_a_meta_batch_are_told() -> None:
    store = small_store()
    with pytest.raises(UserError, match=r"gru_further\.batch_size: found 999, but only \d+ train"):
        FurtherGRU.train(store, further(batch_size=999), CPU, lambda _: None, a_gru(store))
