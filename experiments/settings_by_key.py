"""Settings by their dotted keys, such as `model.hidden_dim`: read, changed, and written back.

params.yaml is written back by putting the new value in the place of the old one. ruamel.yaml, which
is made to keep layout and comments, was tried: of a file that it only reads and writes it drops the
comments inside a list and at its key, joins the lines of the list, and empties every `null`. It
does keep the column of a comment behind a value of another length, and so does this.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path
from mooc_maml.settings.params import Params, load_params, parse_params

Value = bool | int | float | str | None


def leaves(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"data": {"source": "table"}} -> {"data.source": "table"}."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        inner = isinstance(value, Mapping)
        found |= leaves(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def value_of(params: Params, key: str) -> Any:
    """A setting as it was checked: `1e-05`, which YAML takes for text, is a number here."""
    place: Any = params
    for part in key.split("."):
        place = getattr(place, part)
    return place


def with_changes(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as in params.yaml, some of them changed by their dotted keys, and checked.

    Raises:
        UserError: there is no such section, or a value is not allowed.
    """
    copy: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(settings)))
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = copy
        for section in sections:
            if not isinstance(place.get(section), dict):
                raise UserError(f"{key}: found no section {section}; expected a key of params.yaml")
            place = place[section]
        place[name] = value
    parse_params(copy)
    return copy


def as_yaml(value: Value) -> str:
    """One value as YAML reads it back: 1.0e-05 for 1e-05, 'no' in quotes, true, null."""
    text: str = yaml.safe_dump(value, width=10**6)
    return text.removesuffix("...\n").strip()


def write_settings(path: Path, changes: Mapping[str, Value]) -> Params:
    """Change settings in a file by their dotted keys; every other character stays.

    Only the blanks before a comment on the same line grow or shrink, so that it keeps its column.

    Raises:
        UserError: a value is not allowed.
    """
    text = path.read_text(encoding="utf-8")
    for key, value in changes.items():
        node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
        for part in key.split("."):
            node = next(inner for name, inner in node.value if name.value == part)
        text = _replaced(text, node.start_mark.index, node.end_mark.index, as_yaml(value))
    parse_params(yaml.safe_load(text))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return load_params(path)


def _replaced(text: str, start: int, end: int, new: str) -> str:
    """The text with [start, end) replaced; a comment behind keeps its column if there is room."""
    blanks = re.match(r" +(?=#)", text[end:])
    if blanks is None:
        return text[:start] + new + text[end:]
    width = max(1, blanks.end() + (end - start) - len(new))
    return text[:start] + new + " " * width + text[end + blanks.end() :]
