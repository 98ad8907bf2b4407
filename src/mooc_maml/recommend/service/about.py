"""What is served, told to those who ask: the bundle, its models, and what they are worth."""

from pydantic import BaseModel, ConfigDict

from mooc_maml.common.files import sha256
from mooc_maml.recommend.bundle import JSON, BundleInfo, Estimate, ModelInfo
from mooc_maml.recommend.recommender import Recommender
from mooc_maml.report.words import count, percent

_METRIC = "HR@10"
_BEFORE = {"few_shot": "zero_shot", "mixture": "mixture_zero_shot"}  # after -> before it was told
_TOLD = {"adapted": "after its steps", "informed": "told of the learner's courses"}


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EstimateOut(_Told):
    """A metric on the test learners, with its 95 % interval; fractions."""

    mean: float
    low: float
    high: float


class ModelOut(_Told):
    """A model that may be asked.

    `inner_steps`: how many gradient steps it takes of its own; null: it takes none.
    `carries_learners`: whether sessions of training learners can be read from its files.
    `worth`: in a sentence, for people.
    """

    name: str
    label: str
    kind: str
    inner_steps: int | None
    carries_learners: bool
    metrics: dict[str, EstimateOut]
    worth: str


class DataOut(_Told):
    """What the models were trained and tested on; `learners`, `queries`: of the test."""

    source: str
    synthetic: bool
    learners: int
    queries: int


class ModelAnswer(_Told):
    """The bundle: `pairs`: latest pairs of a learner that models are told of; models best first."""

    bundle: str
    made_by: str
    data: DataOut
    pairs: int
    courses: int
    titles: bool
    default_model: str
    models: list[ModelOut]


def revision(recommender: Recommender) -> str:
    """A short name of the bundle, from its content."""
    return sha256(recommender.folder / JSON)[:12]


def offered(recommender: Recommender, with_learners: bool) -> tuple[str, ...]:
    """Models that may be asked; those that carry learners only `with_learners`."""
    models = [recommender.bundle.model(name) for name in recommender.models]
    return tuple(m.name for m in models if m and (with_learners or not m.carries_learners))


def about(bundle: BundleInfo, name: str, models: tuple[str, ...]) -> ModelAnswer:
    """What GET /model answers; `name`: the bundle's."""
    shown = [_model(bundle, own) for own in bundle.models if own.name in models]
    data = bundle.data
    return ModelAnswer(
        bundle=name,
        made_by=bundle.made_by,
        data=DataOut(
            source=data.source,
            synthetic=data.synthetic,
            learners=data.learners,
            queries=data.queries,
        ),
        pairs=bundle.rules.support_size,
        courses=len(bundle.courses),
        titles=bundle.titles is not None,
        default_model=bundle.default_model,
        models=shown,
    )


def _model(bundle: BundleInfo, own: ModelInfo) -> ModelOut:
    adaptation = own.adaptation
    steps = adaptation.num_inner_steps if adaptation and not adaptation.zero_shot else None
    return ModelOut(
        name=own.name,
        label=own.label,
        kind=own.kind,
        inner_steps=steps,
        carries_learners=own.carries_learners,
        metrics={name: EstimateOut(**x.model_dump()) for name, x in own.metrics.items()},
        worth=worth(bundle, own),
    )


def worth(bundle: BundleInfo, own: ModelInfo) -> str:
    """What a model's list is worth, in one sentence with its interval."""
    if _METRIC not in own.metrics:
        return "No test says what this model is worth."
    data = bundle.data
    kind = "synthetic test learners" if data.synthetic else f"test learners of {data.source}"
    told = f", {_TOLD[own.kind]}," if own.kind in _TOLD else ""
    first = bundle.model(_BEFORE.get(own.name, ""))
    before = first and first.metrics.get(_METRIC)
    compared = f"; before, {_share(before)}" if before else ""
    return (
        f"In a test with {count(data.queries, 'next course', 'next courses')} of {data.learners:,} "
        f"{kind}, the list of ten{told} held the right course in {_share(own.metrics[_METRIC])} of "
        f"cases{compared}."
    )


def _share(estimate: Estimate) -> str:
    """79.0 % (95 % interval 76.3 to 81.8 %)."""
    low, high = percent(estimate.low).removesuffix(" %"), percent(estimate.high)
    return f"{percent(estimate.mean)} (95 % interval {low} to {high})"
