"""What the files of `curves` hold, as types: figures by support pairs and by inner steps."""

from mooc_maml.common.results import Result
from mooc_maml.evaluation.schema import Count, OfModel, OfTestLearners, Share, sign_of
from mooc_maml.settings.evaluation import MetricName


class ChangeFromNone(Result):
    """A model's figure minus that of its row of 0, paired over the same learners; a fraction.

    `low`, `high`: the 95 % interval; null: too few learners, or the same for all.
    """

    difference: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out no change, else 0."""
        return sign_of(self.low, self.high)


class Ablated(OfModel):
    """Figures of a meta-model at one value of a setting.

    `change`: in the metric that `AblationsResult.judged_by` names; absent in the row of 0.
    """

    change: ChangeFromNone | None = None


class OfSupportSize(Ablated):
    """Few-shot on so many support pairs; on none it is zero-shot, told of nothing."""

    support_size: Count

    @property
    def value(self) -> int:
        """Of the setting."""
        return self.support_size


class OfInnerSteps(Ablated):
    """After so many gradient steps, told of the same K support pairs in every row, also of 0."""

    inner_steps: Count

    @property
    def value(self) -> int:
        """Of the setting."""
        return self.inner_steps


class AblationsResult(OfTestLearners):
    """ablations_K5_Q10.json; both meta-models, one after the other."""

    judged_by: MetricName
    support_sizes: list[OfSupportSize]
    inner_steps: list[OfInnerSteps]


class CurvePoint(Result):
    """One metric of a model that was given so many pairs; null: there is no 95 % interval."""

    model: str
    support_size: Count
    metric: MetricName
    mean: Share
    low: Share | None
    high: Share | None


class ColdStartResult(OfTestLearners):
    """cold_start_K5_Q10.json."""

    curves: list[CurvePoint]
