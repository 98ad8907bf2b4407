"""All settings as a page: what params.yaml says of each, and what its typed model allows."""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from mooc_maml.settings.params import Params
from mooc_maml.settings.types import Between

_LINE = re.compile(r"^( *)([A-Za-z_]\w*):\s?([^#]*?)\s*(?:#\s?(.*))?$")
_NO_BOUND = 1e6  # from here on a bound only catches slips of the finger
_HEADING = re.compile(r"^# --- (.*?) -*$")


def reference(text: str) -> str:
    """The page in Markdown: a heading a section of params.yaml, a table row a setting.

    Args:
        text: params.yaml.
    """
    values, lines = yaml.safe_load(text), ["## MAML", "", *_HEAD]
    entries = list(_entries(text))
    for kind, name, comment in entries:
        if kind == "heading":
            lines += ["", f"## {name}", "", *_HEAD]
        elif not any(other.startswith(f"{name}.") for _, other, _ in entries):
            for key, value in _leaves(name, _value(values, name)):
                lines.append(_row(f"`{key}`", f"`{_plain(value)}`", allowed(key), comment))
    return "\n".join(_without_empty(lines)) + "\n"


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The settings in a section that is written on one line; others as they are."""
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(f"{name}.{key}", inner)


def _row(*cells: str) -> str:
    escaped = [cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells]
    return "| " + " | ".join(escaped) + " |"


_HEAD = ("| setting | as shipped | allowed | what it does |", "|---|---|---|---|")


def _without_empty(lines: list[str]) -> Iterator[str]:
    """Lines without a heading that nothing stands under."""
    for place, line in enumerate(lines):
        later = [other for other in lines[place + 1 :] if other.startswith(("## ", "| `"))]
        if line.startswith("## ") and (not later or later[0].startswith("## ")):
            continue
        if line in _HEAD and (not later or later[0].startswith("## ")):
            continue
        yield line


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Headings, and settings with their comments, in the order of the file."""
    place: list[tuple[int, str]] = []
    entry: list[str] | None = None
    inside = 0  # of brackets that an earlier line opened: what stands there is no line of its own
    for line in text.splitlines():
        heading, found = _HEADING.match(line), None if inside else _LINE.match(line)
        code = line.split("#")[0]
        inside += sum(code.count(x) for x in "{[") - sum(code.count(x) for x in "}]")
        if entry and not found and not heading and line.strip().startswith("#") and line[:1] == " ":
            entry[1] += f" {line.strip().lstrip('# ')}"
            continue
        if entry and not found and not heading:
            continue
        if entry:
            yield ("setting", *entry)  # type: ignore[misc]
            entry = None
        if heading:
            yield "heading", heading[1], ""
        elif found:
            depth = len(found[1])
            place = [(d, name) for d, name in place if d < depth] + [(depth, found[2])]
            entry = [".".join(name for _, name in place), found[4] or ""]
    if entry:
        yield ("setting", *entry)  # type: ignore[misc]


def _value(values: dict[str, Any], name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values


def _plain(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def allowed(name: str) -> str:
    """What the typed model allows, in words: `number above 0`, `gru or transformer`."""
    model: type[BaseModel] = Params
    *sections, last = name.removeprefix("tuned.").split(".")  # which are those of MAML again
    for section in sections:
        inner = model.model_fields[section].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return "any"
        model = inner
    field = model.model_fields[last]
    bounds = [text for text in (_bound(each) for each in field.metadata) if text]
    return " ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(_plain(each) for each in get_args(annotation))
    if origin in (Union, types.UnionType):
        kinds = dict.fromkeys(_kind(each) for each in get_args(annotation))
        return " or ".join(kinds)
    if origin is tuple or origin is list:
        return "list"
    if hasattr(annotation, "__metadata__"):  # Annotated: a type and its bounds
        inner, *bounds = get_args(annotation)
        if isinstance(bounds[0], FieldInfo):
            bounds = bounds[0].metadata
        words = [text for text in (_bound(each) for each in bounds) if text]
        return " ".join([_kind(inner), *words])
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return names.get(annotation, "null" if annotation is type(None) else "any")


def _bound(each: object) -> str:
    """What a check allows, in words; nothing of a check that is no range."""
    if not isinstance(each, AfterValidator) or not isinstance(own := each.func, Between):
        return ""
    low = f"above {own.low:,}" if own.above else f"from {own.low:,}"
    return f"{low} to {own.high:,}" if own.high < _NO_BOUND else f"{low} on"


def read_reference(path: Path) -> str:
    """`reference` of a file."""
    return reference(path.read_text(encoding="utf-8"))
