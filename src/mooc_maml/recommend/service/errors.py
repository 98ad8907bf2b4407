"""One shape for every error: a code for programs, a sentence for people, and where it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response


class ErrorDetail(BaseModel):
    """What was wrong with a request."""

    model_config = ConfigDict(extra="forbid")

    code: str
    message: str
    where: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(extra="forbid")

    error: ErrorDetail


class Refused(Exception):
    """A request that gets an error for an answer; raised anywhere below the application."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        where: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.body = ErrorBody(error=ErrorDetail(code=code, message=message, where=where))

    def response(self) -> Response:
        """The answer."""
        content = orjson.dumps(self.body.model_dump())
        return Response(content, self.status, self.headers, media_type="application/json")


def overloaded(message: str = "too many requests at once; try again shortly") -> Refused:
    """503: the worker has as many requests as it takes."""
    return Refused(503, "overloaded", message, headers={"Retry-After": "1"})


def too_late(seconds: float) -> Refused:
    """503: the answer would have come after the time that a request may take."""
    message = f"no answer within {seconds:g} s; ask for fewer learners, or try again later"
    return Refused(503, "too_late", message, headers={"Retry-After": "5"})


def failed() -> Refused:
    """500: a fault of the service, of which the caller learns nothing but that."""
    return Refused(500, "internal", "the service failed; its log says why")


_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
}
_MESSAGES = {
    404: "no such address; /docs lists what there is",
    405: "this address takes other methods; /docs lists them",
}


def of_status(status: int, detail: str, headers: Mapping[str, str] | None) -> Refused:
    """An error that the framework raised, in the shape of all others."""
    message = _MESSAGES.get(status, detail)
    return Refused(status, _CODES.get(status, "refused"), message, headers=headers)


def of_validation(problems: Sequence[Mapping[str, Any]]) -> Refused:
    """422: the first of what pydantic found, without the value that was sent.

    `invalid`: against the schema. `not_together`: against a rule that the schema cannot say.
    """
    first = problems[0]
    if first["type"] == "json_invalid":
        why = first.get("ctx", {}).get("error", "cannot be read")
        return Refused(422, "no_json", f"the body is not JSON: {why}", "body")
    if first["type"] == "model_attributes_type" and tuple(first["loc"]) == ("body",):
        message = "the body is no JSON object, or not sent as Content-Type: application/json"
        return Refused(422, "invalid", message, "body")
    more = len(problems) - 1
    others = f" (and {more} more)" if more else ""
    message = first["msg"].removeprefix("Value error, ")
    code = "not_together" if first["type"] == "value_error" else "invalid"
    return Refused(422, code, f"{message}{others}", _place(first["loc"]))


def _place(location: Sequence[str | int]) -> str:
    """("body", "learners", 0, "top") -> body.learners[0].top."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")[:200]
