"""Result files: small JSON, checked against a model when written and when read."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_json, write_json


class Result(BaseModel):
    """Content of a result file or a part of it: frozen, no unknown key, no converted type.

    A key that may be absent has a default; a value equal to it is not written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


R = TypeVar("R", bound=Result)


def plain(result: Result) -> dict[str, Any]:
    """What the file holds, as plain values."""
    return result.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def write_result(path: Path, result: Result) -> None:
    """Write a result file; the same result, the same bytes."""
    write_json(path, plain(result))


def read_result(path: Path, kind: type[R]) -> R:
    """Read a result file.

    Raises:
        UserError: it is missing or no JSON, or a key is missing, unknown or of a wrong type; the
            message names file and key.
    """
    read_json(path)  # its errors say what to do
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        words = _in_words(first["type"], first["msg"], first["input"])
        place = ".".join(map(str, first["loc"]))
        key = f"key {place}" if place else "content"
        raise UserError(
            f"{path}: {key} {words}; run `dvc repro --force` to make the file again"
        ) from None


def _in_words(kind: str, message: str, found: Any) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is unknown"
    return f"is wrong: found {str(found)[:60]}, {message[0].lower()}{message[1:]}"
