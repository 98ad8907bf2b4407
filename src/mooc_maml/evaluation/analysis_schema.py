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


class Gap(Result):
    """How often a model says that it is right, and how often it is: means over learners.

    `difference`: stated minus right, with its 95 % interval over learners; null: there is none.
    """

    stated: Share
    right: Share
    difference: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1: over-confident, -1: under-confident, 0: it cannot be told."""
        return sign_of(self.low, self.high)


class Bin(Result):
    """Queries whose first course has much the same probability; `low`, `high`: of `right`."""

    queries: Count
    stated: Share
    right: Share
    low: Share | None
    high: Share | None


class Calibration(Result):
    """Whether a model's probabilities come true; see `evaluation.calibration`.

    `ece_by_chance`: what a calibrated model would show on as many queries. `log_loss`: in nats.
    `impossible`: queries whose true course the model gave no chance at all.
    """

    model: str
    first: Gap
    first_ten: Gap
    ece: Share
    ece_low: Share | None
    ece_high: Share | None
    ece_by_chance: float
    log_loss: float
    log_loss_low: float | None
    log_loss_high: float | None
    impossible: Count
    bins: list[Bin]


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
    calibration: list[Calibration]
