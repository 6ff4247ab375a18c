"""Reports a blocked event loop. Meanwhile a worker renews no lease, claims no run and does not stop."""

import asyncio
import logging
import sys
import threading
import time
from typing import Final

from runstead.sdk.durable.tracebacks import stack_of

logger = logging.getLogger("runstead.sdk.worker.worker")

#: The loop is blocked when it has not called a callback for so long. The shortest lease is as long.
BLOCKED_S: Final = 5.0


class LoopWatch:
    """Watches the running event loop from a thread, until `close()`."""

    def __init__(self, blocked_s: float = BLOCKED_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._blocked_s = blocked_s
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="runstead-loop-watch", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._blocked_s / 5):
            called, began = threading.Event(), time.monotonic()
            try:
                self._loop.call_soon_threadsafe(called.set)
            except RuntimeError:  # the loop is closed
                return
            if called.wait(self._blocked_s) or self._closed.is_set():
                continue
            self._report()
            called.wait()
            logger.warning("The event loop was blocked for %.0f s", time.monotonic() - began)

    def _report(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to another thread's stack
        logger.warning(
            "The event loop has been blocked for %g s: this worker renews no lease and claims no run. Await what takes"
            " long, put it into a step with a plain function, or write the handler as one: these run in threads.\n%s",
            self._blocked_s,
            "" if frame is None else stack_of(frame),
        )
