"""The result file of a stage that trains models: each one's test figures and its training."""

from collections.abc import Mapping
from typing import Any

from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.about import about
from mooc_maml.evaluation.schema import TrainedResult
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.settings.params import Params


def trained_result(
    params: Params,
    store: EpisodeStore,
    metrics: Mapping[str, Mapping[str, float]],
    training: Mapping[str, list[dict[str, Any]]],
) -> TrainedResult:
    """Put together what `baselines_K5_Q10.json` and its like hold.

    Args:
        params: the settings.
        store: the episodes.
        metrics: model -> metric -> mean over the test learners.
        training: model -> entries of its training, see `schema.TrainingEntry`; models without are
            left out.
    """
    content = {
        "baselines": metrics,
        "training": {name: entries for name, entries in training.items() if entries},
        "seen_courses": seen_filter(store, params).as_result(),
    }
    return TrainedResult.model_validate(about(params, store) | content)
