"""Adaptation on corrupted support pairs: negative controls.

A model that gains as much from wrong support pairs as from right ones has not adapted to the
learner, whatever its few-shot figures are.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mooc_maml.common.progress import following, part
from mooc_maml.common.randomness import generator
from mooc_maml.composites.mixture import Mixture
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.about import about
from mooc_maml.evaluation.comparison import (
    LearnerMetrics,
    paired,
    shares_of_the_way,
    with_holm,
)
from mooc_maml.evaluation.contenders import ORACLE, Contenders
from mooc_maml.evaluation.control_names import (
    CONTROLLED,
    TUNED,
    TUNED_WITHOUT_STEPS,
    WITHOUT_STEPS,
    difference_name,
)
from mooc_maml.evaluation.schema import ControlsResult
from mooc_maml.ranking.metrics import ranks
from mooc_maml.ranking.query_ranks import (
    OnDone,
    ScoreFunction,
    episode_groups,
    in_parts,
    learner_metrics,
)
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.runtime.processes import ALONE, ProcessGroup
from mooc_maml.runtime.tasks_at_once import TasksAtOnce
from mooc_maml.settings.composites_section import ADAPTED
from mooc_maml.settings.params import Params

# (indices of test episodes, their support pairs) -> the support pairs to adapt on
Corrupt = Callable[[NDArray[np.int64], Examples], Examples]


def shuffled_labels(store: EpisodeStore, rng: np.random.Generator) -> Corrupt:
    """The next courses of each learner's support pairs in random order.

    What follows what is lost; which courses the learner opens is not.
    """
    own_order = np.tile(np.arange(store.support_size), (len(store.episodes["test"]), 1))
    order = torch.from_numpy(rng.permuted(own_order, axis=1))  # [episodes, K]

    def corrupt(indices: NDArray[np.int64], support: Examples) -> Examples:
        return support._replace(label=support.label.gather(1, order[indices]))

    return corrupt


def exchanged_supports(store: EpisodeStore, rng: np.random.Generator) -> Corrupt:
    """The support pairs of another test learner, each learner's given to one other.

    A single learner keeps its own.
    """
    ring = rng.permutation(len(store.episodes["test"]))
    giver = np.empty_like(ring)
    giver[ring] = np.roll(ring, 1)

    def corrupt(indices: NDArray[np.int64], _: Examples) -> Examples:
        return store.support("test", giver[indices])

    return corrupt


CONTROLS: Mapping[str, Callable[[EpisodeStore, np.random.Generator], Corrupt]] = {
    "shuffled": shuffled_labels,
    "exchanged": exchanged_supports,
}


def without_steps(mixture: Mixture) -> ScoreFunction:
    """The mixture given the support pairs, but without gradient steps on them."""
    return _changed(mixture, mixture.seen, 0).scores


def told_of_others(mixture: Mixture) -> ScoreFunction:
    """The mixture for support pairs of another learner: what these saw is not left out.

    What the learner itself has seen is left out by `ranks_on_corrupted`.
    """
    return _changed(mixture, mixture.seen._replace(support=False), mixture.steps).scores


def _changed(mixture: Mixture, seen: SeenFilter, steps: int) -> Mixture:
    return Mixture(mixture.parts, seen, mixture.weights, steps, mixture.num_courses, [])


def ranks_on_corrupted(
    score: ScoreFunction,
    corrupt: Corrupt,
    store: EpisodeStore,
    seen: SeenFilter,
    *,
    tasks_at_once: int | TasksAtOnce,
    device: torch.device,
    process_group: ProcessGroup = ALONE,
    on_done: OnDone = lambda count: None,
) -> NDArray[np.int64]:
    """Ranks of the test queries after adaptation on corrupted support pairs.

    Courses that the learner has seen are left out of the ranking by the learner's own pairs.

    Args:
        score: adapts and scores.
        corrupt: changes the support pairs that it adapts on.
        store: the episodes.
        seen: which courses are ranked.
        tasks_at_once: episodes scored together; bounds memory.
        device: where `score` wants its examples.
        process_group: the processes that share the work; all get all ranks.
        on_done: told how many episodes were ranked, each time.

    Returns:
        int64 [episodes, Q], as `query_ranks`.
    """

    def read(own: Examples, corrupted: Examples, query: Examples) -> torch.Tensor:
        adapted_on = corrupted.to(device)

        def scores(_: Examples, asked: Examples) -> torch.Tensor:
            return score(adapted_on, asked).detach()

        support, asked = own.to(device), query.to(device)
        return ranks(seen.without(scores)(support, asked), asked.label)

    at_once = TasksAtOnce.of(tasks_at_once)
    shape = len(store.episodes["test"]), store.query_size
    found = torch.zeros(shape, dtype=torch.int64, device=device)
    groups = episode_groups(
        store, "test", at_once.number, process_group=process_group, device=device
    )
    for indices, own, query in groups:
        for places, ranked in in_parts(at_once, read, own, corrupt(indices, own), query):
            found[indices[places]] = ranked
        on_done(len(indices))
    return process_group.sum(found)[0].cpu().numpy()


def mean_of(repeats: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """Mean over repeats of each learner's metrics: metric -> [learners]."""
    return {metric: np.mean([own[metric] for own in repeats], axis=0) for metric in repeats[0]}


def helps(rows: list[dict[str, Any]], metric: str) -> bool:
    """Whether a model is better than zero-shot beyond chance: its 95 % interval is above 0.

    Where there is no interval, since it is better by as much for every learner, its p counts.

    Args:
        rows: of `paired`, the model minus its zero-shot.
        metric: the one that counts.
    """
    (row,) = (row for row in rows if row["metric"] == metric)
    if row["low"] is None:
        return bool(row["difference"] > 0 and row["p"] < 0.05)
    return bool(row["low"] > 0)


def negative_controls(contenders: Contenders, params: Params) -> ControlsResult:
    """Adapt on right and on corrupted support pairs of the test learners; compare with zero-shot.

    Where there is an oracle, also how far few-shot has gone towards it: a positive control.
    """
    found = _metrics(contenders, params)
    pairs = [x for own in CONTROLLED if own.few_shot in found for x in own.comparisons()]
    differences = {difference_name(a, b): paired(found[a], found[b], params.seed) for a, b in pairs}
    metric, zero = params.evaluation.validation_metric, {own.zero_shot for own in CONTROLLED}
    content: dict[str, Any] = {
        **about(params, contenders.ranker.store),
        "repeats": params.ablations.control_repeats,
        "judged_by": metric,
        "models": {
            name: {metric: float(values.mean()) for metric, values in of_one.items()}
            for name, of_one in found.items()
        },
        "differences": with_holm(differences),
        "helps": {
            a: helps(differences[difference_name(a, b)], metric) for a, b in pairs if b in zero
        },
    }
    if ORACLE in found:
        share = shares_of_the_way(found["zero_shot"], found["few_shot"], found[ORACLE], params.seed)
        content["share_of_the_way_to_the_oracle"] = {"few_shot": share}
    return ControlsResult.model_validate(content)


def _metrics(contenders: Contenders, params: Params) -> dict[str, LearnerMetrics]:
    """Model -> metric -> [learners]; of a control the mean over its repeats."""
    ranker, oracle, scorers = contenders.ranker, contenders.oracle, contenders.scorers
    corruptible = {"few_shot": scorers["few_shot"]}
    scores = {name: scorers[name] for name in ("zero_shot", "few_shot")}
    if TUNED[0] in scorers:
        scores |= {name: scorers[name] for name in TUNED}
        assert contenders.tuned is not None
        scores[TUNED_WITHOUT_STEPS] = contenders.tuned.scores(0, told=True)
        corruptible[TUNED[0]] = scorers[TUNED[0]]
    mixture = contenders.baselines.get(ADAPTED[0])
    if isinstance(mixture, Mixture) and ADAPTED[1] in scorers:
        scores |= {name: scorers[name] for name in ADAPTED}
        scores[WITHOUT_STEPS] = without_steps(mixture)
        corruptible[ADAPTED[0]] = told_of_others(mixture)
    controlled = [x for x in product(CONTROLLED, CONTROLS) if x[0].few_shot in corruptible]
    learners, repeats = ranker.learners("test"), params.ablations.control_repeats
    plan = [(name, learners) for name in scores]
    plan += [(own.few_shot, learners * repeats) for own, _ in controlled]
    with following("controls", plan):
        found: dict[str, LearnerMetrics] = {
            name: learner_metrics(ranker.ranks(name, score, "test"))
            for name, score in scores.items()
        }
        for own, control in controlled:
            score = corruptible[own.few_shot]
            with part(own.few_shot, learners * repeats, "learners"):
                found[own.prefix + control] = _controlled(contenders, params, control, score)
    if oracle is not None:
        found[ORACLE] = learner_metrics(oracle.answers(ranker.store, "test").ranks)
    return found


def _controlled(
    contenders: Contenders, params: Params, control: str, score: ScoreFunction
) -> LearnerMetrics:
    """Metric -> [learners] after adaptation on corrupted pairs, the mean over the repeats."""
    ranker = contenders.ranker
    ranked = partial(
        ranks_on_corrupted,
        tasks_at_once=ranker.at_once,
        device=ranker.device,
        process_group=ranker.process_group,
        on_done=ranker.ranked,
    )
    draws = [
        generator(params.seed, f"control {control}", repeat)
        for repeat in range(params.ablations.control_repeats)
    ]
    corruptions = [CONTROLS[control](ranker.store, rng) for rng in draws]
    return mean_of(
        [
            learner_metrics(ranked(score, corrupt, ranker.store, ranker.seen))
            for corrupt in corruptions
        ]
    )
