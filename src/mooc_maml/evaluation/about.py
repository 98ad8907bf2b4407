"""What every result file about the test learners begins with."""

from typing import Any

from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.settings.params import Params


def about(params: Params, store: EpisodeStore, episode_set: str = "test") -> dict[str, Any]:
    """Values of `schema.OfTestLearners` for a set of episodes of test learners."""
    learners, source = len(store.episodes[episode_set]), params.data.source
    return {
        "data_source": source,
        "synthetic": source == "synthetic",
        "test_set": store.test_set,
        "learners": learners,
        "queries": learners * store.query_size,
    }
