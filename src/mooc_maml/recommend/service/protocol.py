"""HTTP as uvicorn speaks it, with bounds on what comes before a request is whole."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mooc_maml.recommend.service.errors import Refused, overloaded
from mooc_maml.recommend.service.settings import Limits

_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class BoundedProtocol(HttpToolsProtocol):
    """A connection that may not idle before its headers are whole, nor send them without end.

    When the worker ends, an idle connection is not cut at once: a request may be on its way.
    The next answer says `Connection: close`, and only what stays silent is cut.
    """

    limits = Limits()
    _headers_come = False  # some of a request's headers are here, not all
    _header_bytes = 0
    _draining = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or refuse the connection."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(overloaded("too many connections at once; try again shortly"))
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of headers; wait for the rest of them."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._headers_come:
            self._header_bytes += len(data)
            if self._header_bytes > self.limits.header_bytes:
                limit = f"the headers are longer than {self.limits.header_bytes} bytes"
                self._refuse(Refused(431, "headers_too_long", limit))
        elif self._timer is None and self._is_idle:
            self._wait()  # empty lines, which begin no request

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._headers_come, self._header_bytes = True, 0
        if self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """The headers are whole: the application keeps time from here."""
        self._headers_come = False
        self._stop_waiting()
        super().on_headers_complete()
        if self._draining:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """End after the answer under way, or after the next, or after a silence."""
        self._draining = True
        if self._is_idle:
            self._stop_waiting()
            self._wait(min(1.0, self.limits.idle_seconds))
        else:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets the same kind of error as everything else."""
        self._refuse(Refused(400, "no_http", "this is not an HTTP request that can be read"))

    def timeout_keep_alive_handler(self) -> None:
        """Close after a silence; who does not read the answer loses it."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.limits.request_seconds, self.transport.abort)

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self, seconds: float | None = None) -> None:
        delay = self.limits.idle_seconds if seconds is None else seconds
        self._timer = self.loop.call_later(delay, self._waited)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waited(self) -> None:
        self._timer = None
        if self._headers_come:
            self._refuse(Refused(408, "slow_request", "the headers did not come in time"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, refused: Refused) -> None:
        """Answer past the application, and hang up."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        answer = refused.response()
        head: dict[str, Any] = {
            "content-type": "application/json",
            "content-length": len(answer.body),
            "connection": "close",
            **refused.headers,
        }
        lines = [f"HTTP/1.1 {refused.status} {_REASONS[refused.status]}"]
        lines += [f"{name}: {value}" for name, value in head.items()]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode() + bytes(answer.body))
        self.transport.close()


def protocol_of(limits: Limits) -> type[BoundedProtocol]:
    """The protocol with its bounds: uvicorn makes one for each connection, and passes none."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
