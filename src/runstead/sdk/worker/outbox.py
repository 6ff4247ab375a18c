"""The queue of events that a worker sends: collected for 50 ms, sent in order, many in one request."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

BATCH_EVENTS: Final = 24
BATCH_BYTES: Final = 512 * 1024
DELAY_S: Final = 0.05
#: With more than this queued, `drain` waits.
BYTES_MAX: Final = 4 * 1024 * 1024
EVENTS_PER_REQUEST: Final = 100

SendBatch = Callable[[list[msgspec.Raw]], Awaitable[object]]


class Outbox:
    """Sends events in batches. `put` never waits; events are durable when `flush` returns.

    A batch is sent after 50 ms, or with 24 events or 512 KiB. After the server refuses a batch, the next `put` or
    `flush` raises the refusal, and later events are dropped.
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
        """Queue an event. Raise TypeError where it is not JSON, or the refusal of an earlier event."""
        if self._refusal is not None:
            raise self._refusal
        encoded = msgspec.json.encode(event)
        self._queue.append(encoded)
        self._bytes += len(encoded)
        if len(self._queue) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES:
            self._batch_full.set()
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send_all())

    async def drain(self) -> None:
        """Wait while more than BYTES_MAX are queued."""
        if self._bytes > BYTES_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Wait until all events are stored. Raise the server's refusal."""
        while self._sending is not None:
            self._batch_full.set()
            await asyncio.wait([self._sending])
        if self._refusal is not None:
            raise self._refusal

    async def _send_all(self) -> None:
        try:
            while self._queue:
                if not self._batch_full.is_set():
                    await self._wait_for_batch()
                await self._send(self._next_batch())
        except Exception as refusal:  # noqa: BLE001 - raised by the next put or flush
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

    def _next_batch(self) -> list[msgspec.Raw]:
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
        """Drop the events that are not sent, and raise `why` from now on."""
        self._refusal = self._refusal or why
        self._queue.clear()
        self._bytes = 0
        if self._sending is not None and self._sending is not asyncio.current_task():
            self._sending.cancel()
