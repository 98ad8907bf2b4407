"""One process that answers requests, on a socket that its siblings listen on too."""

import asyncio
import gc
import logging
import signal
import socket
from contextlib import suppress
from types import FrameType

import uvicorn

from mooc_maml.recommend.recommender import Recommender
from mooc_maml.recommend.service.app import create_app
from mooc_maml.recommend.service.errors import Refused
from mooc_maml.recommend.service.protocol import protocol_of
from mooc_maml.recommend.service.schemas import ReloadAnswer
from mooc_maml.recommend.service.settings import ServiceSettings

READY, RELOAD, FAILED, BUSY = b"ready\n", b"reload\n", b"failed\n", b"busy\n"
_UNREADABLE = "the bundle cannot be served; the service's log says why, and the old one stays"


def work(
    recommender: Recommender,
    settings: ServiceSettings,
    listening: socket.socket,
    control: socket.socket,
) -> None:
    """Serve until told to end by SIGTERM, or until the supervisor is gone.

    Args:
        recommender: shared with the siblings: its memory is that of the process all came from.
        settings: of the service.
        listening: where requests come in.
        control: to the supervisor: says when it is ready, and asks to reload.
    """
    gc.freeze()  # what was there before the fork is never collected: its pages stay shared
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # one line a broken request
    control.setblocking(False)
    line = _Line(control)
    _warm_up(recommender)
    limits = settings.limits
    config = uvicorn.Config(
        create_app(recommender, settings, line.reload),
        http=protocol_of(limits),
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        workers=1,  # else WEB_CONCURRENCY is read, whatever is in it
        access_log=False,
        server_header=False,
        proxy_headers=False,  # an address that a caller may write himself is no address
        timeout_keep_alive=int(limits.idle_seconds) or 1,
        timeout_graceful_shutdown=int(limits.request_seconds) + 2,
        backlog=2048,
    )
    _Server(config, line).run(sockets=[listening])


def _warm_up(recommender: Recommender) -> None:
    """What is slow the first time is done before the first request."""
    known = recommender.bundle.courses[:3]
    recommender.recommend([[known]], top=1)


class _Line:
    """What a worker and the supervisor say to each other: lines of bytes."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._one = asyncio.Lock()
        self._said: asyncio.Queue[bytes] = asyncio.Queue()

    async def ready(self) -> None:
        """Say that requests are answered from now on."""
        await asyncio.get_running_loop().sock_sendall(self._control, READY)

    async def listen(self) -> None:
        """Keep what the supervisor says; return when it is gone."""
        loop = asyncio.get_running_loop()
        while said := await loop.sock_recv(self._control, 4096):
            self._said.put_nowait(said)

    async def reload(self) -> ReloadAnswer:
        """Ask for the bundle that is on the disk now; a worker that has it follows this one.

        Raises:
            Refused: it cannot be served.
        """
        async with self._one:
            while not self._said.empty():
                self._said.get_nowait()  # the answer to one who no longer waits
            await asyncio.get_running_loop().sock_sendall(self._control, RELOAD)
            said = await self._said.get()
        if said == BUSY:
            headers = {"Retry-After": "5"}
            raise Refused(503, "busy", "another reload is under way", headers=headers)
        if said == FAILED:
            raise Refused(409, "bundle_unreadable", _UNREADABLE)
        return ReloadAnswer.model_validate_json(said)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, line: _Line) -> None:
        super().__init__(config)
        self._line = line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._listening = asyncio.create_task(self._end_with_supervisor())
        await self._line.ready()

    async def _end_with_supervisor(self) -> None:
        with suppress(OSError):
            await self._line.listen()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM ends; Ctrl-C reaches every process of a terminal, and the supervisor's counts."""
        if sig != signal.SIGINT:
            self.should_exit = True
