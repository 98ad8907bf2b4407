"""What every result file about the test learners holds, as types.

A difference of two models has the key A_minus_B, A and B being their names. Differences and curves
are lists of rows, which DVC's tables of metrics leave out: those are wide enough.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from mooc_maml.common.results import Result
from mooc_maml.settings.evaluation import MetricName

METRICS: tuple[str, ...] = get_args(MetricName)
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Metrics(Result):
    """Figures of one model: means over learners of their means over queries, fractions."""

    hr_at_1: Share = Field(alias="HR@1")
    hr_at_5: Share = Field(alias="HR@5")
    hr_at_10: Share = Field(alias="HR@10")
    ndcg_at_10: Share = Field(alias="NDCG@10")
    mrr: Share = Field(alias="MRR")

    def __getitem__(self, metric: str) -> float:
        """The figure by the metric's name, such as HR@1."""
        value: float = getattr(self, _FIELDS[metric])
        return value


_FIELDS = {str(field.alias): name for name, field in Metrics.model_fields.items()}


class OfModel(Metrics):
    """Figures of a model that is named beside them."""

    model: str


def sign_of(low: float | None, high: float | None) -> int:
    """1 or -1 where an interval leaves out no difference, 0 where it does not or there is none."""
    if low is None or high is None:
        return 0
    return int(low > 0) - int(high < 0)


class Difference(Result):
    """The paired difference of two models, the first minus the second, over the same learners.

    `low`, `high`: the 95 % interval; null: too few learners, or the same difference for all.
    """

    metric: MetricName
    difference: float
    low: float | None
    high: float | None
    cohens_d: float | None
    p: Share
    p_holm: Share

    @property
    def sign(self) -> int:
        """1 or -1 where interval and corrected test leave out no difference, else 0."""
        return sign_of(self.low, self.high) if self.p_holm < 0.05 else 0


Differences = dict[str, list[Difference]]  # A_minus_B -> a row a metric


class ShareOfTheWay(Result):
    """Which share of the way from zero-shot to the oracle a model has gone; null: there is none."""

    metric: MetricName
    share: float | None
    low: float | None
    high: float | None


SharesOfTheWay = dict[str, list[ShareOfTheWay]]  # model -> a row a metric


class SeenCourses(Result):
    """What the ranking left out, and how often courses recur where that was asked."""

    prefix_left_out: bool
    support_left_out: bool
    in_session: Share | None = None
    by_learner: Share | None = None


class OfTestLearners(Result):
    """What every file about the test learners begins with.

    `test_set` names the learners and their queries, see `EpisodeStore.test_set`.
    """

    data_source: str
    synthetic: bool
    test_set: str
    learners: Count
    queries: Count


class TestResult(OfTestLearners):
    """maml_K5_Q10.json: every model on the same queries of all test learners."""

    __test__ = False  # no test case, whatever pytest thinks of the name

    zero_shot: Metrics
    few_shot: Metrics
    tuned_few_shot: Metrics | None = None
    tuned_zero_shot: Metrics | None = None
    tuned_start: Metrics | None = None
    oracle: Metrics | None = None
    baselines: dict[str, Metrics]
    validation: list[OfModel]
    strongest_baseline: str
    improvement_over_gru_percent: dict[MetricName, float | None]
    intervals_95: dict[str, dict[MetricName, tuple[float, float]]]
    differences: Differences
    share_of_the_way_to_the_oracle: SharesOfTheWay = Field(default_factory=dict)
    seen_courses: SeenCourses

    @property
    def models(self) -> dict[str, Metrics]:
        """All models by name: the baselines, then the meta-models and the oracle."""
        own = {
            "zero_shot": self.zero_shot,
            "few_shot": self.few_shot,
            "tuned_few_shot": self.tuned_few_shot,
            "tuned_zero_shot": self.tuned_zero_shot,
            "tuned_start": self.tuned_start,
            "oracle": self.oracle,
        }
        return self.baselines | {name: found for name, found in own.items() if found is not None}


class TrainingEntry(Result):
    """One entry of what a model's training tells: an epoch, a setting tried, or the end.

    `left_out_validation`: figures on validation learners that were left out of the training, for
    models that are trained on the others.
    """

    epoch: Count | None = None
    train_loss: float | None = None
    rate: float | None = None
    bias_rate: float | None = None
    steps: Count | None = None
    adapt_on: str | None = None
    weights: dict[str, float | dict[str, float]] | None = None
    validation: Metrics | None = None
    left_out_validation: Metrics | None = None


class TrainedResult(OfTestLearners):
    """baselines_K5_Q10.json, composites_K5_Q10.json: models by themselves, and their training.

    Both name their models under `baselines`, as maml_K5_Q10.json does with all of them.
    """

    baselines: dict[str, Metrics]
    training: dict[str, list[TrainingEntry]]
    left_out_validation: dict[str, Metrics] = Field(default_factory=dict)
    seen_courses: SeenCourses

    @property
    def left_out(self) -> dict[str, Metrics]:
        """Model -> its figures on validation learners left out of its training, where known."""
        found = {
            name: entries[-1].left_out_validation
            for name, entries in self.training.items()
            if entries
        }
        known = {name: metrics for name, metrics in found.items() if metrics is not None}
        return known | self.left_out_validation


class ControlsResult(OfTestLearners):
    """controls_K5_Q10.json; `helps`: whether a model is above its zero-shot beyond chance."""

    repeats: Count
    judged_by: MetricName
    models: dict[str, Metrics]
    differences: Differences
    helps: dict[str, bool]
    share_of_the_way_to_the_oracle: SharesOfTheWay = Field(default_factory=dict)


class OverSeeds(Result):
    """A figure, one value a seed, with the 95 % t-interval of its mean; null: one seed."""

    mean: float
    standard_deviation: float | None
    low: float | None
    high: float | None
    values: list[float]


class SeedsResult(Result):
    """seeds_K5_Q10.json; `learners`: test learners of each seed."""

    data_source: str
    synthetic: bool
    learners: list[Count]
    seeds: list[int]
    varied: Literal["both", "split", "training"]
    settings: dict[str, Any]
    test_reads: Count
    models: dict[str, dict[MetricName, OverSeeds]]
    differences: dict[str, dict[MetricName, OverSeeds]]
