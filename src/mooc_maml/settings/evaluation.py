"""The section `evaluation` of params.yaml."""

from typing import Literal

from mooc_maml.settings.types import Section

MetricName = Literal["HR@1", "HR@5", "HR@10", "NDCG@10", "MRR"]


class EvaluationParams(Section):
    """What validation looks at, and which courses are ranked."""

    validation_metric: MetricName
    taken_courses: Literal["as_is", "auto"]
