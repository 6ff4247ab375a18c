"""What a handler is given beside its run: a way to tell what happens."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec

from runstead.sdk.call import Call
from runstead.sdk.connection import Calls
from runstead.sdk.lease import ClaimedRun

T = TypeVar("T")

EVENTS_PER_APPEND: Final = 100
BYTES_PER_APPEND: Final = 512 * 1024
LOG_BYTES: Final = 1024 * 1024


class LeaseLostError(Exception):
    """The run is not this worker's any more: its lease ran out, or it was cancelled. What is written is refused."""


class RunFailed(Exception):  # noqa: N818 - an outcome that a handler declares, not an accident
    """Raise it in a handler to fail the run with this message, code and detail (any JSON), without a traceback."""

    def __init__(self, message: str, code: str | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.detail = detail


class Send(Protocol):
    def __call__(self, call: Call[T]) -> Awaitable[T]: ...


class Context:
    """A handler's side of one attempt.

    `metadata` (usage: provider, model, inputTokens …) and `exit_code` go out with the completion where a handler sets
    them, lines and artifacts always.
    """

    def __init__(self, run: ClaimedRun, calls: Calls, send: Send) -> None:
        self.metadata: dict[str, Any] | None = None
        self.exit_code: int | None = None
        self.artifacts: list[dict[str, Any]] = []
        self._run = run
        self._calls = calls
        self._send = send
        self._order = asyncio.Lock()
        self._lines: deque[str] = deque()
        self._line_bytes = 0
        self._dropped = 0
        self._over = False

    @property
    def cancelled(self) -> bool:
        """Whether the run is no longer this worker's. Handlers in threads look at it, since nothing interrupts them."""
        return self._over

    def close(self) -> None:
        """Refuse all that is told from now on."""
        self._over = True

    async def emit(self, event: Mapping[str, Any]) -> None:
        """Append one event, an object with a string `type`; it is durable once this returns. LeaseLostError."""
        await self.emit_many([event])

    async def emit_many(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append events in order, in as few requests as 100 events and 512 KiB a request allow. LeaseLostError.

        Through broken connections and restarts of the server each is stored once. Each request is one transaction.
        """
        async with self._order:
            for batch in batches(events):
                if self._over:
                    raise LeaseLostError(f"Run {self._run.run_id} is not this worker's any more")
                await self._send(
                    self._calls.append_events(
                        self._run.run_id,
                        batch,
                        attempt=self._run.attempt,
                        lease_token=self._run.lease_token,
                    )
                )

    def log(self, line: str) -> None:
        """Add a line to the run's logs, which go out with the completion: the last MiB of them."""
        self._lines.append(line)
        self._line_bytes += len(line.encode("utf-8", "replace")) + 1
        while self._line_bytes > LOG_BYTES and len(self._lines) > 1:
            self._line_bytes -= len(self._lines.popleft().encode("utf-8", "replace")) + 1
            self._dropped += 1

    def artifact(
        self,
        name: str,
        *,
        media_type: str | None = None,
        size: int | None = None,
        uri: str | None = None,
        sha256: str | None = None,
        **more: Any,
    ) -> None:
        """Note something that the run made and keeps elsewhere. `size` in bytes; it goes out with the completion."""
        known = {"media_type": media_type, "size": size, "uri": uri, "sha256": sha256, **more}
        self.artifacts.append(
            {"name": name} | {key: value for key, value in known.items() if value is not None}
        )

    @property
    def logs(self) -> str | None:
        """The lines so far, None where there is none."""
        if not self._lines:
            return None
        first = [f"({self._dropped} earlier lines were dropped)"] if self._dropped else []
        return "\n".join([*first, *self._lines])


class ThreadContext:
    """The same for a handler that runs in a thread: its methods block. See `Context`."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop
        self.log = context.log
        self.artifact = context.artifact

    @property
    def cancelled(self) -> bool:
        return self._context.cancelled

    @property
    def metadata(self) -> dict[str, Any] | None:
        return self._context.metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any] | None) -> None:
        self._context.metadata = value

    @property
    def exit_code(self) -> int | None:
        return self._context.exit_code

    @exit_code.setter
    def exit_code(self, value: int | None) -> None:
        self._context.exit_code = value

    def emit(self, event: Mapping[str, Any]) -> None:
        self.emit_many([event])

    def emit_many(self, events: Iterable[Mapping[str, Any]]) -> None:
        asyncio.run_coroutine_threadsafe(self._context.emit_many(events), self._loop).result()


def batches(events: Iterable[Mapping[str, Any]]) -> Iterator[list[msgspec.Raw]]:
    """Encoded events in order, cut so that none holds over 100 events or, where it holds two, over 512 KiB."""
    batch: list[msgspec.Raw] = []
    size = 0
    for event in events:
        encoded = msgspec.json.encode(event)
        if batch and (len(batch) == EVENTS_PER_APPEND or size + len(encoded) > BYTES_PER_APPEND):
            yield batch
            batch, size = [], 0
        batch.append(msgspec.Raw(encoded))
        size += len(encoded)
    if batch:
        yield batch
