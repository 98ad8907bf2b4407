"""The one thread of a worker that asks the model, and the short queue before it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from mooc_maml.recommend.service.errors import overloaded, too_late
from mooc_maml.recommend.service.settings import Limits

Result = TypeVar("Result")


class Desk:
    """Runs one thing at a time beside the event loop; refuses what would wait too long.

    Without a bound on the queue, a service that is asked faster than it answers gets slower for
    everyone without end, and answers only those who have gone.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self.waiting = 0  # at work, included

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work`.

        Raises:
            Refused: 503, if the queue is full or the result would come too late.
        """
        if self.waiting >= self._limits.waiting:
            raise overloaded()
        self.waiting += 1
        loop = asyncio.get_running_loop()
        future = self._thread.submit(work)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        return await self._within_time(future)

    async def _within_time(self, future: Future[Result]) -> Result:
        seconds = self._limits.request_seconds
        try:  # what still waits is cancelled; what is at work goes on, and keeps its place
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            raise too_late(seconds) from None

    def _leave(self) -> None:
        self.waiting -= 1

    def close(self) -> None:
        """Take nothing more; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
