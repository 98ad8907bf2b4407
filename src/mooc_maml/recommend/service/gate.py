"""What every request passes before the application: who asks, how much, and for how long."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mooc_maml.recommend.service.access import check_access
from mooc_maml.recommend.service.errors import Refused, failed, too_late
from mooc_maml.recommend.service.metrics import Metrics
from mooc_maml.recommend.service.settings import ServiceSettings

_LOG = logging.getLogger("mooc_maml.service")
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'"
)
# Swagger's page draws with styles and pictures inside its script.
_DOCS = f"{_PAGE} data:; style-src-elem 'self' 'unsafe-inline'; style-src-attr 'unsafe-inline'"
_CLOSED = "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_RELOAD_SECONDS = 300  # to read a bundle and start workers
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Gate:
    """Wraps an application: checks, reads the body within bounds, times, counts, hides faults."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begin, answered = time.perf_counter(), _Answered(scope, send)
        with self._metrics.in_progress():
            try:
                await self._pass(scope, receive, answered)
            except Refused as refused:
                await answered.instead(refused, scope, receive)
            except Exception:
                _LOG.exception("a request to %s failed", scope["path"])
                await answered.instead(failed(), scope, receive)
        seconds = time.perf_counter() - begin
        self._metrics.count(scope["method"], scope["path"], answered.status, seconds)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_access(scope, self._settings)
        limits = self._settings.limits
        try:
            async with asyncio.timeout(limits.request_seconds):
                body = await _read(Headers(scope=scope), receive, limits.body_bytes)
        except TimeoutError:
            message = f"the request was not all here after {limits.request_seconds:g} s"
            headers = {"Connection": "close"}
            raise Refused(408, "slow_request", message, headers=headers) from None
        # Twice: the desk keeps its own time, and this is for all the rest.
        most = _RELOAD_SECONDS if scope["path"] == "/reload" else 2 * limits.request_seconds
        try:
            async with asyncio.timeout(most):
                await self._app(scope, _replay(body, receive), send)
        except TimeoutError:
            raise too_late(limits.request_seconds) from None


async def _read(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body, if it is no longer than `limit` bytes."""
    too_long = Refused(
        413, "too_long", f"the body is longer than {limit} bytes", headers={"Connection": "close"}
    )
    told = headers.get("content-length", "0")
    if told.isdecimal() and int(told) > limit:
        raise too_long
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "gone", "the caller left before the request was all here")
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_long
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body read before, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class _Answered:
    """A `send` that adds the headers of every answer and remembers the status."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send: Callable[[Message], Awaitable[None]] = send
        self._policy = (_DOCS if scope["path"].startswith("/docs") else _PAGE) + _CLOSED
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers["Content-Security-Policy"] = self._policy
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def instead(self, refused: Refused, scope: Scope, receive: Receive) -> None:
        """Answer with an error, if no answer has begun."""
        if not self.status:
            await refused.response()(scope, receive, self)
