"""Stage: does adaptation help where it must not, and as much as it can where it should?"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from mooc_maml.common.errors import main_guard
from mooc_maml.common.randomness import generator
from mooc_maml.composites.mixture import Mixture
from mooc_maml.composites.registry import read_baselines
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import (
    LearnerMetrics,
    oracle_ranks,
    paired,
    shares_of_the_way,
    with_holm,
)
from mooc_maml.evaluation.controls import (
    CONTROLLED,
    CONTROLS,
    WITHOUT_STEPS,
    Spoil,
    helps,
    mean_of,
    spoilt_ranks,
    told_of_others,
    without_steps,
)
from mooc_maml.evaluation.test_reads import write_test_results
from mooc_maml.meta.model import read_meta_model
from mooc_maml.ranking.query_ranks import ScoreFunction, learner_metrics, query_ranks
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.settings.baselines import ADAPTED
from mooc_maml.settings.params import Params, load_params
from mooc_maml.synthetic.oracle import Oracle


def main(paths: argparse.Namespace) -> None:
    """Adapt on right and on wrong support pairs of the test learners; compare with zero-shot."""
    params, store = load_params("params.yaml"), read_checked(paths.episodes)
    found = _metrics(params, store, paths)
    pairs = [x for own in CONTROLLED if own.few_shot in found for x in own.comparisons()]
    comparisons = {f"{a}_vs_{b}": paired(found[a], found[b], params.seed) for a, b in pairs}
    metric, zero = params.evaluation.validation_metric, {own.zero_shot for own in CONTROLLED}
    content: dict[str, Any] = {
        "data_source": params.data.source,
        "synthetic": params.data.source == "synthetic",
        "learners": len(store.episodes["test"]),
        "repeats": params.ablations.control_repeats,
        "judged_by": metric,
        "models": {
            name: {metric: values.mean() for metric, values in of_one.items()}
            for name, of_one in found.items()
        },
        "comparisons": with_holm(comparisons),
        "helps": {a: helps(comparisons[f"{a}_vs_{b}"], metric) for a, b in pairs if b in zero},
    }
    if "oracle" in found:
        content["share_of_the_way_to_the_oracle"] = shares_of_the_way(
            found["zero_shot"], found["few_shot"], found["oracle"], params.seed
        )
    write_test_results(paths.results, content, store.test_set)


def _metrics(
    params: Params, store: EpisodeStore, paths: argparse.Namespace
) -> dict[str, LearnerMetrics]:
    """Model -> metric -> [learners]; of a control the mean over its repeats."""
    taken, at_once = seen_filter(store, params), params.hardware.tasks_at_once
    meta = read_meta_model(paths.model, params, store.num_courses, taken)
    device = meta.learner.device
    scores: dict[str, ScoreFunction] = {"zero_shot": meta.scores(0), "few_shot": meta.scores()}
    spoilable = {"few_shot": scores["few_shot"]}  # as they are told of wrong support pairs
    if set(ADAPTED) <= set(params.baselines.models):
        names = params.baselines.models
        trained = read_baselines(paths.baselines, names, store.num_courses, device)
        scores |= {name: trained[name].scores for name in ADAPTED}
        mixture = trained[ADAPTED[0]]
        assert isinstance(mixture, Mixture)
        scores[WITHOUT_STEPS] = without_steps(mixture)
        spoilable[ADAPTED[0]] = told_of_others(mixture)

    def own_supports(score: ScoreFunction) -> LearnerMetrics:
        score = taken.without(score)
        return learner_metrics(
            query_ranks(score, store, "test", tasks_at_once=at_once, device=device)
        )

    def spoilt_supports(score: ScoreFunction, spoil: Spoil) -> LearnerMetrics:
        return learner_metrics(
            spoilt_ranks(score, spoil, store, taken, tasks_at_once=at_once, device=device)
        )

    found = {name: own_supports(score) for name, score in scores.items()}
    for own, (name, control) in product(CONTROLLED, CONTROLS.items()):
        if own.few_shot in spoilable:
            draws = [
                generator(params.seed, f"control {name}", repeat)
                for repeat in range(params.ablations.control_repeats)
            ]
            found[own.prefix + name] = mean_of(
                [spoilt_supports(spoilable[own.few_shot], control(store, rng)) for rng in draws]
            )
    if params.data.source == "synthetic":
        oracle = oracle_ranks(store, "test", Oracle.load(paths.truth), paths.pairs)
        found["oracle"] = learner_metrics(oracle)
    return found


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, required=True, help="folder of preprocess")
    parser.add_argument("--episodes", type=Path, required=True, help="folder of build_episodes")
    parser.add_argument("--baselines", type=Path, required=True, help="folder of train_baselines")
    parser.add_argument("--model", type=Path, required=True, help="folder of meta_train")
    parser.add_argument("--truth", type=Path, required=True, help="folder of simulate's oracle")
    parser.add_argument("--results", type=Path, required=True, help="JSON to write")
    main(parser.parse_args())


if __name__ == "__main__":
    main_guard(_from_command_line)
