"""What results/episodes.json holds: an account of the episodes made and dropped."""

from mooc_maml.common.results import Result

BySplit = dict[str, int]  # train, validation, test; of episodes "ablation" too


class ReliabilityCaps(Result):
    """Values of a session from which on it counts as fully reliable."""

    events: float
    seconds: float
    kinds: int


class EpisodesResult(Result):
    """How the learners were split, and how many episodes there are of each kind."""

    data_source: str
    synthetic: bool
    learners: BySplit
    pairs: BySplit
    learners_with_too_few_pairs: BySplit
    episodes: BySplit
    episodes_dropped_support_not_before_query: BySplit
    training_learners_with_episodes: int
    support_size: int
    query_size: int
    ablation_support_size: int
    courses: int
    reliability_caps: ReliabilityCaps
