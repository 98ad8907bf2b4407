"""The table of meta-trained models that a bundle holds, as the results name them."""

from collections.abc import Callable
from dataclasses import dataclass

from mooc_maml.settings.params import Params


def _as_they_are(params: Params) -> Params:
    return params


def _tuned(params: Params) -> Params:
    return params.of_tuned


@dataclass(frozen=True)
class MetaRow:
    """A row of the results that is a meta-trained model.

    Attributes:
        name: in the results.
        label: for people.
        folder: of its stage in the folder of models; its file in the bundle has the same name.
        zero_shot: whether it takes no steps.
        params_of: the settings that it was trained with, from those of the run.
    """

    name: str
    label: str
    folder: str
    zero_shot: bool
    params_of: Callable[[Params], Params] = _as_they_are


# A further row of a meta-trained model is a line here; those that the results lack are left out.
META_ROWS = (
    MetaRow("few_shot", "MAML few-shot", "maml", zero_shot=False),
    MetaRow("zero_shot", "MAML zero-shot", "maml", zero_shot=True),
    MetaRow(
        "tuned_few_shot", "MAML tuned, few-shot", "maml_tuned", zero_shot=False, params_of=_tuned
    ),
    MetaRow(
        "tuned_zero_shot", "MAML tuned, zero-shot", "maml_tuned", zero_shot=True, params_of=_tuned
    ),
)
