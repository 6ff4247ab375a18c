"""Events on their way: collected for a moment, sent in order, many in one request."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

BATCH_EVENTS: Final = 24
BATCH_BYTES: Final = 512 * 1024
DELAY_S: Final = 0.05
#: Whoever tells more than this at a time waits until some of it is sent.
BYTES_MAX: Final = 4 * 1024 * 1024
EVENTS_PER_REQUEST: Final = 100

SendBatch = Callable[[list[msgspec.Raw]], Awaitable[object]]


class Outbox:
    """`put` never waits; what was put is durable once `flush` returns. Events go out after 50 ms, or as soon as there
    are 24 of them or 512 KiB. What the server refuses is raised by the next `flush`, and all that follows it is dropped.
    """

    def __init__(self, send: SendBatch, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._send = send
        self._sleep = sleep
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._batch_full = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._refusal: Exception | None = None

    def put(self, event: Mapping[str, Any]) -> None:
        """TypeError where it is no JSON; the refusal of an event before it."""
        if self._refusal is not None:
            raise self._refusal
        encoded = msgspec.json.encode(event)
        self._queue.append(encoded)
        self._bytes += len(encoded)
        if len(self._queue) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES:
            self._batch_full.set()
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._drain())

    async def drain(self) -> None:
        """Wait while too much is on its way."""
        if self._bytes > BYTES_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Wait until everything is stored."""
        while self._sending is not None:
            self._batch_full.set()
            await asyncio.wait([self._sending])
        if self._refusal is not None:
            raise self._refusal

    async def _drain(self) -> None:
        try:
            while self._queue:
                if not self._batch_full.is_set():
                    await self._wait_for_batch()
                await self._send(self._take())
        except Exception as refusal:  # noqa: BLE001 - the teller's to know
            self.close(refusal)
        finally:
            self._sending = None
            self._batch_full.clear()

    async def _wait_for_batch(self) -> None:
        timer = asyncio.ensure_future(self._sleep(DELAY_S))
        full = asyncio.ensure_future(self._batch_full.wait())
        try:
            await asyncio.wait([timer, full], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            full.cancel()

    def _take(self) -> list[msgspec.Raw]:
        batch: list[msgspec.Raw] = []
        size = 0
        while self._queue and len(batch) < EVENTS_PER_REQUEST:
            if batch and size + len(self._queue[0]) > BATCH_BYTES:
                break
            encoded = self._queue.popleft()
            size += len(encoded)
            batch.append(msgspec.Raw(encoded))
        self._bytes -= size
        if not self._queue:
            self._batch_full.clear()
        return batch

    def close(self, why: Exception) -> None:
        """Drop what has not been sent, and raise this from now on."""
        self._refusal = self._refusal or why
        self._queue.clear()
        self._bytes = 0
        if self._sending is not None and self._sending is not asyncio.current_task():
            self._sending.cancel()
