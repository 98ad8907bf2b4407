"""The section `tuned` of params.yaml: what a second meta-model has other than the first."""

from collections.abc import Mapping
from typing import Any

# What may be other: keys of the top level, or a section and its keys (None: all of them).
CHANGEABLE: dict[str, tuple[str, ...] | None] = {
    "use_second_order": None,
    "inner_lr": None,
    "inner_lr_bias": None,
    "outer_lr": None,
    "num_inner_steps": None,
    "meta_batch_size": None,
    "num_meta_iterations": None,
    "eval_interval": None,
    "max_grad_norm": None,
    "early_stopping_patience": None,
    "model": ("backbone",),
    "meta": None,
}


def with_changes(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some changed; of a section those that are not named stay.

    Raises:
        ValueError: a key is not one that the second meta-model may have of its own.
    """
    found = dict(settings)
    for key, value in changes.items():
        if key not in CHANGEABLE:
            raise ValueError(f"tuned.{key}: no such setting; allowed are {', '.join(CHANGEABLE)}")
        found[key] = _changed(key, settings[key], value)
    return found


def _changed(key: str, own: Any, value: Any) -> Any:
    if not isinstance(own, Mapping):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"tuned.{key}: found {value!r}; expected keys and values")
    allowed = CHANGEABLE[key]
    for name in value:
        if allowed is not None and name not in allowed:
            raise ValueError(f"tuned.{key}.{name}: allowed of {key} is {', '.join(allowed)}")
    return {**own, **value}
