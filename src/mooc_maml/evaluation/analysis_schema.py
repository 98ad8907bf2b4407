"""What the analysis of the records holds, as types: analysis_K5_Q10.json."""

from typing import Literal

from mooc_maml.common.results import Result
from mooc_maml.evaluation.schema import Count, OfTestLearners, Share, sign_of
from mooc_maml.settings.evaluation import MetricName


class InGroup(Result):
    """Two models on the queries of one group: means over learners, and their paired difference.

    `split`: what the queries are grouped by; `group`: which of its groups, in words.
    `difference`: first minus second, with its 95 % interval over learners; null: there is none.
    """

    split: str
    group: str
    first: str
    second: str
    metric: MetricName
    queries: Count
    learners: Count
    first_mean: Share
    second_mean: Share
    difference: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out no difference, else 0."""
        return sign_of(self.low, self.high)


class BeyondAccuracy(Result):
    """What a model's lists are like, whether or not they are right; see `beyond_accuracy`."""

    model: str
    coverage: Share
    novelty: float
    diversity_between: Share | None
    diversity_within: float | None
    popularity_ratio: float
    popularity_deviation: Share


class Step(Result):
    """A pair of a learner: the courses of the session before (the last few), and the next one."""

    before: list[str]
    next: str


class ExampleLearner(Result):
    """A learner, what a model was told of, and its list before and after it adapted.

    `why`: how the learner was chosen. `change`: of the mean NDCG@10 over the learner's queries.
    """

    why: Literal["largest gain", "median", "largest loss"]
    learner: Count
    model: str
    query: Count
    change: float
    support: list[Step]
    prefix: list[str]
    true_course: str
    before: list[str]
    after: list[str]
    rank_before: Count
    rank_after: Count


class AnalysisResult(OfTestLearners):
    """analysis_K5_Q10.json."""

    where: list[InGroup]
    beyond_accuracy: list[BeyondAccuracy]
    examples: list[ExampleLearner]
