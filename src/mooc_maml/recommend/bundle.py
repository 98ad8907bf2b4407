"""The bundle: a folder that holds trained models and all that is needed to ask them.

bundle.json                    what it is: data, settings, catalogue, models and their metrics
<model>.safetensors            weights
with_learners/                 models that hold sessions of training learners; a bundle without
                               this folder is whole, and tells nobody's data
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, ValidationError

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import sha256
from mooc_maml.common.results import Result
from mooc_maml.settings.evaluation import MetricName

FORMAT = 1  # raised by a change that older readers would get wrong
JSON = "bundle.json"
WITH_LEARNERS = "with_learners"
Kind = Literal["adapted", "informed", "plain"]


class Estimate(Result):
    """A metric on the test learners, with its 95 % interval."""

    mean: float
    low: float
    high: float


class File(Result):
    """A file of the bundle, by its path in it."""

    bytes: int
    sha256: str


class DataInfo(Result):
    """What the models were trained on.

    Attributes:
        source: data.source.
        synthetic: whether it is synthetic: its metrics say nothing of real learners.
        pairs_sha256: of the files of `preprocess`; raw_sha256: of the raw files.
        revision: stage -> hash of the code that it ran, as dvc.yaml lists it.
        learners: test learners behind the metrics; queries: their queries.
    """

    source: str
    synthetic: bool
    pairs_sha256: dict[str, str]
    raw_sha256: dict[str, str]
    revision: dict[str, str]
    test_set: str
    learners: int
    queries: int


class Rules(Result):
    """How learners' courses become what the models read, as in training.

    Attributes:
        support_size: K, the latest pairs that a model is told of or adapted on.
        max_prefix_length: courses of a session that a model sees, the latest.
        drop_consecutive_repeats: A A B -> A B.
        reliability: SRS of a learner who tells courses alone: the training pairs' mean.
        seen_prefix: courses of the current session are left out of the ranking.
        seen_support: those that the support pairs show are left out too.
        tasks_at_once: learners adapted together.
    """

    support_size: int
    max_prefix_length: int
    drop_consecutive_repeats: bool
    reliability: float
    seen_prefix: bool
    seen_support: bool
    tasks_at_once: int


class Adaptation(Result):
    """How a meta-trained model is adapted.

    Attributes:
        backbone, variant: model.backbone and meta.variant.
        num_inner_steps: gradient steps that it takes of its own.
        zero_shot: whether this row takes none at all.
        settings: all that the variant may read: the keys of params.yaml outside of sections, and
            the section meta.
    """

    backbone: str
    variant: str
    num_inner_steps: int
    zero_shot: bool
    settings: dict[str, Any]


class ModelInfo(Result):
    """A model that can be asked.

    Attributes:
        name: as in the results.
        label: for people.
        kind: see `Recommendation`.
        carries_learners: whether sessions of training learners can be read from its files.
        file: its path in the bundle.
        made_of: names of the models that it cannot do without.
        adaptation: of a meta-trained model; None: a baseline or a composite.
        metrics: on the test learners.
        validation: metric -> mean on the validation learners (left-out ones where it was fitted on
            these), by which the default is chosen.
    """

    name: str
    label: str
    kind: Kind
    carries_learners: bool
    file: str
    made_of: list[str]
    adaptation: Adaptation | None = None
    metrics: dict[MetricName, Estimate]
    validation: dict[MetricName, float]


class BundleInfo(Result):
    """What bundle.json holds.

    Attributes:
        format: `FORMAT` of the program that wrote it.
        made_by: name and version of that program.
        data: what the models were trained on.
        rules: how learners are read.
        settings: params.yaml without what tells of the machine; for people.
        validation_metric: by which the default is chosen.
        default_model: the best on validation among those that carry no learners.
        models: those that can be asked, the best on validation first.
        courses: ids, course 1 first.
        titles: of the same courses, None where one has none; None: there are no titles.
        files: path -> size and hash of each file beside bundle.json.
    """

    format: Annotated[int, Field(ge=1)]
    made_by: str
    data: DataInfo
    rules: Rules
    settings: dict[str, Any]
    validation_metric: MetricName
    default_model: str
    models: list[ModelInfo]
    courses: list[str]
    titles: list[str | None] | None = None
    files: dict[str, File]

    def model(self, name: str) -> ModelInfo | None:
        """The model of that name, if there is one."""
        return next((model for model in self.models if model.name == name), None)


def read_bundle(folder: Path) -> BundleInfo:
    """Read bundle.json and see that every file is there, in its size.

    Raises:
        UserError: something is missing, cut off, of another version, or no bundle at all.
    """
    path = folder / JSON
    info = _parsed(path, _content(path))
    for name, file in info.files.items():
        if name.startswith(f"{WITH_LEARNERS}/") and not (folder / WITH_LEARNERS).exists():
            continue
        place = folder / name
        found = place.stat().st_size if place.is_file() else None
        if found != file.bytes:
            what = "no such file" if found is None else f"has {found} bytes"
            raise UserError(
                f"{place}: {what}, expected {file.bytes} bytes; copy the whole bundle again, "
                "or run `dvc repro export`"
            )
    return info


def check_model(folder: Path, info: BundleInfo, name: object) -> ModelInfo:
    """What the bundle says of a model that may be asked; see `models_of`.

    Raises:
        UserError: there is none of that name.
    """
    allowed = models_of(folder, info)
    own = info.model(name) if isinstance(name, str) and name in allowed else None
    if own is None:
        raise UserError(f"model: found {str(name)[:40]!r}, this bundle has {', '.join(allowed)}")
    return own


def models_of(folder: Path, info: BundleInfo) -> tuple[str, ...]:
    """Names of the models that may be asked: without their folder none that carries learners."""
    has_learners = (folder / WITH_LEARNERS).is_dir()
    return tuple(own.name for own in info.models if has_learners or not own.carries_learners)


def check_file(folder: Path, info: BundleInfo, name: str) -> Path:
    """The path of a file of the bundle whose content is what bundle.json says.

    Raises:
        UserError: it is another.
    """
    path = folder / name
    try:
        found = sha256(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; copy the whole bundle again") from None
    if found != info.files[name].sha256:
        raise UserError(
            f"{path}: not the file that {JSON} names (another sha256); copy the whole bundle "
            "again, or run `dvc repro export`"
        )
    return path


def _content(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; run `dvc repro export` to make a bundle, or name its folder"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected the file of a bundle") from None
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); copy the whole bundle again") from None


def _parsed(path: Path, content: Any) -> BundleInfo:
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is not int:
        raise UserError(f"{path}: not the description of a bundle; expected the key format")
    if version != FORMAT:
        raise UserError(
            f"{path}: format {version}, made by {str(content.get('made_by'))[:60]}; this program "
            f"reads format {FORMAT}; install the program that made it, or export it again"
        )
    try:
        info = BundleInfo.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}: key {key}: {first['msg'][0].lower()}{first['msg'][1:]}; copy the whole "
            "bundle again, or run `dvc repro export`"
        ) from None
    _check(path, info)
    return info


def _check(path: Path, info: BundleInfo) -> None:
    """What types cannot say: names that must fit together."""
    names = {model.name for model in info.models}
    wrong = None
    if info.default_model not in names:
        wrong = f"default_model {info.default_model} is none of its models"
    elif len(set(info.courses)) < len(info.courses) or not info.courses:
        wrong = "courses are missing or named twice"
    elif info.titles is not None and len(info.titles) != len(info.courses):
        wrong = f"{len(info.titles)} titles of {len(info.courses)} courses"
    for model in info.models:
        outside = Path(model.file).is_absolute() or ".." in Path(model.file).parts
        if outside or model.file not in info.files:
            wrong = f"model {model.name}: file {model.file[:60]} is none of its files"
    if wrong:
        raise UserError(f"{path}: {wrong}; copy the whole bundle again")
