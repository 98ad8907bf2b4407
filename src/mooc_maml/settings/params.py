"""The whole of params.yaml as typed, frozen, checked models.

Every stage calls `load_params` first: an unknown key, a wrong type or a value out of range
stops it before any work, with the key, what was found and what is allowed.
"""

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, PrivateAttr, StrictBool, ValidationError, model_validator

from mooc_maml.common.errors import UserError
from mooc_maml.settings.ablations import AblationParams
from mooc_maml.settings.baselines_section import BaselineParams
from mooc_maml.settings.composites_section import CompositeParams
from mooc_maml.settings.data import DataParams
from mooc_maml.settings.episodes import EpisodeParams
from mooc_maml.settings.evaluation import EvaluationParams
from mooc_maml.settings.hardware import HardwareParams
from mooc_maml.settings.meta import MetaParams
from mooc_maml.settings.model import ModelParams
from mooc_maml.settings.sessions import SessionParams
from mooc_maml.settings.tuned import with_changes
from mooc_maml.settings.types import (
    Between,
    Count,
    CountOrNone,
    Learners,
    Number,
    Rate,
    Section,
    Seed,
    Steps,
)

# Where settings stand now that stood elsewhere before.
MOVED = {
    "baselines.epochs": "baselines.gru.epochs",
    "baselines.batch_size": "baselines.gru.batch_size",
    "baselines.learning_rate": "baselines.gru.learning_rate",
    "baselines.neighbours": "baselines.v_sknn.neighbours",
    "baselines.gru_fine_tuned": "composites.gru_fine_tuned",
    "baselines.gru_further": "composites.gru_further",
    "baselines.mixture": "composites.mixture",
}


class ParamsError(UserError):
    """A settings file that cannot be used; the message names key, value and what is allowed."""


class Params(Section):
    """params.yaml."""

    seed: Seed
    use_second_order: StrictBool
    inner_lr: Rate
    inner_lr_bias: Rate | None
    outer_lr: Rate
    num_inner_steps: Steps
    meta_batch_size: Learners
    num_meta_iterations: Count
    eval_interval: Count
    checkpoint_interval: Count
    max_grad_norm: Annotated[Number, AfterValidator(Between(0, 1_000_000, above=True))]
    early_stopping_patience: CountOrNone
    data: DataParams
    sessions: SessionParams
    episodes: EpisodeParams
    model: ModelParams
    meta: MetaParams
    tuned: dict[str, Any]
    baselines: BaselineParams
    composites: CompositeParams
    ablations: AblationParams
    evaluation: EvaluationParams
    hardware: HardwareParams
    _of_tuned: "Params | None" = PrivateAttr(None)

    @model_validator(mode="after")
    def _composites_have_their_parts(self) -> Self:
        self.composites.check_parts(self.baselines.models)
        return self

    @model_validator(mode="after")
    def _tuned_is_allowed(self) -> Self:
        """Raises ValueError with the key, what was found and what is allowed."""
        if not self.tuned:
            return self
        content = with_changes({**self.model_dump(), "tuned": {}}, self.tuned)
        try:
            self._of_tuned = type(self).model_validate(content)
        except ValidationError as error:
            raise ValueError(f"tuned.{_fault(dict(error.errors()[0]))}") from None
        return self

    @property
    def of_tuned(self) -> "Params":
        """The settings of the second meta-model: these, but for what `tuned` changes."""
        return (self._of_tuned or self) if self.tuned else self


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
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        advice = f"it is {MOVED[key]} now" if key in MOVED else "is it misspelt?"
        return f"{key}: no such setting (found {fault['input']!r}); {advice}"
    if fault["type"] == "missing":
        return f"{key}: missing; every setting of params.yaml must be there"
    allowed: str = fault["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    if not key:  # of several sections; the message names the key
        return allowed
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


def settings_of(params: Params, sections: set[str], unused: dict[str, Any]) -> str:
    """JSON of what a result depends on: the named keys of the top level but what is unused.

    Where a result may depend on the device or the number of processes, the saved state says so
    itself (`runtime.run_state`), so that these two never belong to it.
    """
    others: dict[str, Any] = dict.fromkeys(set(Params.model_fields) - sections, True)
    machine = {"hardware": {"device", "processes"}}
    return params.model_dump_json(exclude=others | machine | unused)


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
