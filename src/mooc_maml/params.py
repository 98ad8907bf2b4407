"""The whole of params.yaml as typed, frozen, checked models.

Every stage calls `load_params` first: an unknown key, a wrong type or a value out of range
stops it before any work, with the key, what was found and what is allowed.
"""

import codecs
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from mooc_maml.baseline_params import BaselineParams
from mooc_maml.errors import UserError
from mooc_maml.setting_types import ColumnName, Count, Number, Positive, Share, Text
from mooc_maml.setting_types import Section as _Section

SourceName = Literal["synthetic", "xuetangx", "mooccubex", "table"]
MetricName = Literal["HR@1", "HR@5", "HR@10", "NDCG@10", "MRR"]


class ParamsError(UserError):
    """A settings file that cannot be used; the message names key, value and what is allowed."""


_FORMATS = ("iso", "epoch", "order")
_SAMPLE = datetime(2021, 3, 14, 17, 6, 7)


def _time_format(value: str) -> str:
    if value in _FORMATS:
        return value
    expected = f"expected one of {_FORMATS}, or a pattern of strptime such as '%d.%m.%Y %H:%M'"
    if "%" not in value:
        raise ValueError(expected)
    try:
        read = datetime.strptime(_SAMPLE.strftime(value), value)
    except ValueError as error:
        raise ValueError(f"{expected}; as a pattern: {error}") from None
    if read.date() != _SAMPLE.date() or read.hour not in (0, _SAMPLE.hour):
        raise ValueError(f"{expected}; it must tell year, month and day (%I only with %p)")
    return value


def _encoding(value: str) -> str:
    expected = "expected an encoding of text such as utf-8, gb18030, cp1252 or utf-16"
    try:
        name = codecs.lookup(value).name
        works = "a,1".encode(name).decode(name) == "a,1"
        codecs.getincrementaldecoder(name)("replace").decode(b"", final=True)
    except (LookupError, ValueError, TypeError, UnicodeError):
        works = False
    if not works or name.replace("-", "_") in _NO_ENCODINGS:
        raise ValueError(expected)
    return "utf-8" if name == "utf-8-sig" else name


_NO_ENCODINGS = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined")


class TableParams(_Section):
    """Columns of a table of one's own."""

    learner: ColumnName
    item: ColumnName
    time: ColumnName
    time_format: Annotated[StrictStr, AfterValidator(_time_format)]
    event: ColumnName | None
    session: ColumnName | None


class SyntheticParams(_Section):
    """Size and nature of the made-up platform."""

    learners: Annotated[StrictInt, Field(ge=20)]
    courses: Annotated[StrictInt, Field(ge=20)]
    taste_strength: Annotated[Number, Field(ge=0, le=10)]


def _glob(value: str) -> str:
    if not value or value.startswith("/") or ".." in Path(value).parts:
        raise ValueError("expected a glob inside the source's own folder, like '*.json.gz'")
    return value


Glob = Annotated[StrictStr, AfterValidator(_glob)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


def _memory(value: object) -> object:
    found = (
        re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])i?B", value)
        if isinstance(value, str)
        else None
    )
    if found is None or not 1e6 <= float(found[1]) * 1000 ** ("KMGT".index(found[2]) + 1) < 1e18:
        raise ValueError("expected an amount of memory from 1MB on, such as 800MB, 2GB or 1.5GiB")
    return value


Memory = Annotated[StrictStr, BeforeValidator(_memory)]


class SparkParams(_Section):
    """Which cluster, and how it is set up."""

    master: Text
    config: dict[StrictStr, StrictStr]


class DataParams(_Section):
    """Where the activity comes from."""

    source: SourceName
    files: Annotated[Globs, Field(min_length=1)]
    encoding: Annotated[StrictStr, AfterValidator(_encoding)]
    event_prefixes: tuple[StrictStr, ...]
    max_bad_records: Share
    raw: Text | None
    engine: Literal["duckdb", "spark"]
    memory_limit: Memory
    work: Text | None
    spark: SparkParams
    table: TableParams
    synthetic: SyntheticParams


class SessionParams(_Section):
    """How events are cut into sessions."""

    boundary: Literal["gap", "platform"]
    gap_seconds: Positive
    min_events: Count
    drop_consecutive_repeats: StrictBool


class EpisodeParams(_Section):
    """How pairs become few-shot tasks."""

    split_seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] | None
    support_size: Count
    query_size: Count
    stride: Count
    position: Literal["last", "first"]
    train_fraction: Share
    validation_fraction: Share
    test_fraction: Share
    max_prefix_length: Count

    @model_validator(mode="after")
    def _fractions_add_up(self) -> Self:
        total = self.train_fraction + self.validation_fraction + self.test_fraction
        if abs(total - 1) > 1e-6 or 0 in (
            self.train_fraction,
            self.validation_fraction,
            self.test_fraction,
        ):
            raise ValueError(
                "train_fraction, validation_fraction and test_fraction must each be above 0 "
                f"and add up to 1, not {total:g}"
            )
        return self


class ModelParams(_Section):
    """Shape of the recommender."""

    embedding_dim: Count
    hidden_dim: Count
    layers: Annotated[StrictInt, Field(ge=1, le=8)]
    dropout: Annotated[Number, Field(ge=0, lt=1)]


RELIABILITY_STEPS = (3, 7)  # of few-shot with meta.variant: reliability; SRS from 0.5 on, below


class MetaParams(_Section):
    """How the model is adapted, and how that is learned."""

    variant: Literal[
        "maml",
        "anil",
        "context",
        "meta_sgd",
        "maml_plus_plus",
        "reptile",
        "proximal",
        "reliability",
    ]
    warm_start: StrictBool
    first_order_updates: Annotated[StrictInt, Field(ge=0)]
    multi_step_updates: Annotated[StrictInt, Field(ge=0)]
    proximal: Annotated[Number, Field(ge=0)]


class AblationParams(_Section):
    """Values that the ablations walk through, and the size of the controls."""

    support_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    inner_steps: Annotated[tuple[Count, ...], Field(min_length=1)]
    control_repeats: Count


class EvaluationParams(_Section):
    """What validation looks at, and which courses are ranked."""

    validation_metric: MetricName
    taken_courses: Literal["as_is", "auto"]


class HardwareParams(_Section):
    """What the run may use of the machine."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[StrictInt, Field(ge=1, le=1024)]
    processes: Annotated[StrictInt, Field(ge=1, le=1024)]
    tasks_at_once: Count
    precision: Literal["float32", "float64"]


class Params(_Section):
    """params.yaml."""

    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)]
    use_second_order: StrictBool
    inner_lr: Positive
    outer_lr: Positive
    num_inner_steps: Count
    meta_batch_size: Count
    num_meta_iterations: Count
    eval_interval: Count
    checkpoint_interval: Count
    max_grad_norm: Positive
    early_stopping_patience: Annotated[StrictInt, Field(ge=0)]
    data: DataParams
    sessions: SessionParams
    episodes: EpisodeParams
    model: ModelParams
    meta: MetaParams
    baselines: BaselineParams
    ablations: AblationParams
    evaluation: EvaluationParams
    hardware: HardwareParams


def parse_params(content: object, place: str = "params.yaml") -> Params:
    """Check settings already read from YAML.

    Raises:
        ParamsError: one line for each fault: key, value found, what is allowed.
    """
    if not isinstance(content, dict):
        raise ParamsError(f"{place}: expected keys and values, found {type(content).__name__}")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = [_fault(dict(fault)) for fault in error.errors()]
        raise ParamsError(f"{place}: " + f"\n{place}: ".join(lines)) from None


def _fault(fault: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "the whole file"
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such setting (found {fault['input']!r}); is it misspelt?"
    if fault["type"] == "missing":
        return f"{key}: missing; every setting of params.yaml must be there"
    allowed = fault["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    found = "" if isinstance(fault["input"], dict) else f"found {fault['input']!r}; "
    return f"{key}: {found}{allowed[0].lower()}{allowed[1:]}"


class _Loader(yaml.SafeLoader):
    """YAML in which no key comes twice: of two, PyYAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See `yaml.SafeLoader`."""
        keys = [key.value for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                mark = node.value[number][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"{key} comes twice", mark)
        return super().construct_mapping(node, deep)


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check a settings file.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds a setting that is not allowed.
    """
    try:
        content = _Loader(Path(path).read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the repository's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    return parse_params(content, str(path))
