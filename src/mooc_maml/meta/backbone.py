"""What makes a recommender meta-learnable: how it is built, read, and adapted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import torch_generator
from mooc_maml.meta.inner import TaskModel, Weights
from mooc_maml.models.model_file import read_module, write_module
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.settings.meta import pointer_of
from mooc_maml.settings.params import Params

OUTPUT_BIAS = "output_bias"  # the part that `inner_lr_bias` is the step size of

DropOut = Callable[[Any, float, Weights, torch.Generator], TaskModel]
MakeTaskModel = Callable[[nn.Module, torch.device, torch.dtype, SeenFilter], TaskModel]


class Recommender(Protocol):
    """The constructor of a module that scores pairs: courses, row, position -> [pairs, C].

    The module keeps what it was built with in `settings`, see `Storable`.
    """

    def __call__(
        self, num_courses: int, *, generator: torch.Generator | None, **shape: Any
    ) -> nn.Module:
        """`generator` draws the initial weights; None: they are about to be loaded."""


@dataclass(frozen=True)
class Backbone:
    """One way to read a session, for meta-training: a line in the table of `model.backbone`.

    Attributes:
        name: as in the table; the model's file is named after it.
        kind: the class of the plain module.
        shape: settings -> what the constructor takes besides the number of courses.
        task_model: (module, device, dtype, seen courses that no loss counts) -> its task model; the
            module's own weights are not used.
        parts: parts of the weights that a variant may move alone -> how the names of their
            weights begin.
        dense: whether its task model keeps a tensor for each task and parameter, so that these may
            have a step size for every value (`DenseWeights`).
        warm_start: the baseline whose weights it can begin with; None: there is none.
        drops_out: (task model, share, weights, generator) -> the task model without some columns;
            None: it has no dropout.
    """

    name: str
    kind: type[nn.Module]
    shape: Callable[[Params], dict[str, Any]]
    task_model: MakeTaskModel
    parts: Mapping[str, str] = field(default_factory=dict)
    dense: bool = False
    warm_start: str | None = None
    drops_out: DropOut | None = None

    def build(self, num_courses: int, params: Params, drawn: torch.Generator | None) -> nn.Module:
        """The plain module with initial weights drawn from a generator; None: zeros."""
        make: Recommender = self.kind
        return make(num_courses, **self.shape(params), generator=drawn)

    def read(self, path: Path, num_courses: int) -> nn.Module:
        """The plain module from its file; see `read_module`.

        Raises:
            UserError: the file is missing, is damaged, or of another kind or catalogue.
        """
        return read_module(path, self.kind, num_courses)

    def baseline_to_begin_with(self) -> str:
        """Name of the baseline for a warm start.

        Raises:
            UserError: there is none for this backbone.
        """
        if self.warm_start is None:
            raise UserError(
                f"meta.warm_start: found true; allowed with model.backbone {self.name} is false, "
                "since no baseline has weights that it could begin with (the backbone gru has)"
            )
        return self.warm_start

    def thinned(
        self, task_model: Any, share: float, weights: Weights, drawn: torch.Generator
    ) -> TaskModel:
        """The task model without so large a share of its columns; see `check`."""
        assert self.drops_out is not None
        return self.drops_out(task_model, share, weights, drawn)

    def check(self, params: Params) -> None:
        """Stop where there is to be dropout or a pointer and the backbone has none.

        Raises:
            UserError: what is allowed instead.
        """
        if self.drops_out is not None:
            return
        for key, none in (("dropout", 0.0), ("pointer", None)):
            found = getattr(params.meta, key)
            if found != none:
                raise UserError(
                    f"meta.{key}: found {found:g}; allowed with model.backbone {self.name} is "
                    f"{'null' if none is None else 0}"
                )

    def begun_with(self, baseline: Any, params: Params) -> nn.Module:
        """A module with the weights of a baseline, and what it has besides as it begins."""
        if params.meta.pointer is None:
            own: nn.Module = baseline
            return own
        shape = {**baseline.settings, **pointer_of(params.meta)}
        start = self.kind(**shape, generator=torch_generator(params.seed, "meta-initial"))
        start.load_state_dict({**start.state_dict(), **baseline.state_dict()})
        return start

    def write(
        self, path: Path, model: nn.Module, run: Mapping[str, Any], learned: Mapping[str, Tensor]
    ) -> None:
        """Write the module, the settings it was trained with, and what else was learned."""
        write_module(path, model, {**run, "backbone": self.name}, learned)  # type: ignore[arg-type]


def weights_of(module: nn.Module) -> Weights:
    """A module's weights by name, without gradients."""
    return {name: weight.detach() for name, weight in module.named_parameters()}
