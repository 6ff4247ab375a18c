"""Runs several workers in one process: they start together and stop together."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from runstead.sdk.worker.loop_watch import LoopWatch


class Serves(Protocol):
    """A worker."""

    async def serve(self) -> None: ...
    def stop(self) -> None: ...
    async def aclose(self) -> None: ...


class Closes(Protocol):
    """A resource that the workers share, such as an executor."""

    async def close(self) -> None: ...


class WorkerGroup:
    """Workers that serve concurrently. If the server refuses one of them permanently, all stop and its error is raised."""

    def __init__(self, workers: Sequence[Serves], shared: Sequence[Closes] = ()) -> None:
        self._workers = workers
        self._shared = shared

    def run(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then close the clients and shared resources. A second signal skips the grace."""
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self._main())

    def stop(self) -> None:
        """See `Worker.stop`."""
        for worker in self._workers:
            worker.stop()

    async def serve(self) -> None:
        """Serve until `stop()`; see `Worker.serve`."""
        serving = [asyncio.ensure_future(worker.serve()) for worker in self._workers]
        try:
            done, pending = await asyncio.wait(serving, return_when=asyncio.FIRST_EXCEPTION)
            if pending:
                self.stop()
                await asyncio.wait(pending)
        except asyncio.CancelledError:
            for one in serving:
                one.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            raise
        for one in (*done, *pending):
            one.result()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self.stop)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.stop))
        watch = LoopWatch()
        try:
            await self.serve()
        finally:
            watch.close()
            for worker in self._workers:
                await worker.aclose()
            for one in self._shared:
                await one.close()
