"""The attempt of a handler in a child process. It sends events, log lines and calls to the worker."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from runstead.sdk import tracing
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.emitter import LeaseLostError
from runstead.sdk.errors import RunFailed, RunsteadError
from runstead.sdk.isolation.channel import Channel
from runstead.sdk.isolation.messages import (
    SAME,
    AskCancelled,
    CallFailed,
    CallResult,
    CompletionData,
    EmitEvent,
    Flush,
    FromWorker,
    LogLine,
    SendCall,
)
from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.response import FieldError
from runstead.sdk.resources import Calls
from runstead.sdk.routes.call import Call
from runstead.sdk.transport.exchange import decode
from runstead.sdk.worker.outbox import Outbox

T = TypeVar("T")

#: The worker holds an upload of the child in memory.
UPLOAD_BYTES_MAX: Final = 192 * 1024 * 1024


class ParentLink:
    """Sends requests to the worker, and resolves them with its responses."""

    def __init__(self, channel: Channel[FromWorker]) -> None:
        self.channel = channel
        self._pending: dict[int, asyncio.Future[bytes | None]] = {}
        self._count = 0

    def resolve(self, message: CallResult | CallFailed) -> None:
        response = self._pending.pop(message.number, None)
        if response is None or response.done():
            return
        if isinstance(message, CallResult):
            response.set_result(message.content)
        else:
            response.set_exception(_error_of(message))

    async def flush(self) -> None:
        await self._ask(Flush)

    async def was_cancelled(self) -> bool:
        return await self._ask(AskCancelled) == b"true"

    async def send(self, call: Call[T]) -> T:
        content = call.content()
        is_upload = isinstance(content, Upload)
        if isinstance(content, Upload):
            content = await _content_of(content)
        body = await self._ask(
            SendCall,
            query=list(call.query),
            content=content,
            is_upload=is_upload,
            headers=tracing.headers() | dict(call.headers),
            **{name: getattr(call, name) for name in SAME},
        )
        return cast(T, None) if body is None else decode(body, call)

    async def _ask(self, request: type[Flush | AskCancelled | SendCall], **members: Any) -> bytes | None:
        """Send a request to the worker, and return the content of its response."""
        self._count += 1
        response: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._pending[self._count] = response
        self.channel.send(request(number=self._count, **members))
        return await response


async def _content_of(upload: Upload) -> bytes:
    """Read the upload. The worker may be on another machine, so it gets the bytes and not the path."""
    if upload.size > UPLOAD_BYTES_MAX:
        raise RunFailed(
            f"A handler in a process of its own may store {UPLOAD_BYTES_MAX} bytes at most, not {upload.size}",
            "ARTIFACT_TOO_LARGE",
        )
    return await asyncio.to_thread(lambda: b"".join(upload.chunks()))


def _error_of(message: CallFailed) -> Exception:
    if message.lost:
        return LeaseLostError(message.detail)
    errors = msgspec.json.decode(message.errors, type=list[FieldError])
    return RunsteadError(
        detail=message.detail,
        status=message.status,
        code=message.code,
        errors=errors,
        retry_after_s=message.retry_after_s,
    )


class _ForwardingOutbox(Outbox):
    """An outbox that forwards events to the worker's outbox, so that they survive the handler's process."""

    def __init__(self, link: ParentLink) -> None:
        super().__init__(_never_called)
        self._link = link
        self._closed: Exception | None = None

    def put(self, event: Mapping[str, Any]) -> None:
        if self._closed is not None:
            raise self._closed
        self._link.channel.send(EmitEvent(event=msgspec.json.encode(event)))

    async def drain(self) -> None:
        await self._link.channel.drain()

    async def flush(self) -> None:
        if self._closed is not None:
            raise self._closed
        await self._link.flush()

    def close(self, why: Exception) -> None:
        self._closed = self._closed or why


async def _never_called(_events: list[msgspec.Raw]) -> None:
    """The forwarding outbox has no queue of its own to send."""


class ChildAttempt(Attempt):
    """The attempt behind the context that the handler receives.

    Threads of the handler may call it. Messages are sent from the loop's thread.
    """

    def __init__(self, run: ClaimedRun, link: ParentLink) -> None:
        super().__init__(run, Calls(), link.send)
        self._outbox = _ForwardingOutbox(link)
        self._link = link
        self.was_cancelled = link.was_cancelled
        self._loop = asyncio.get_running_loop()

    def emit_nowait(self, event: Mapping[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                super().emit_nowait(event)
                return
        self._loop.call_soon_threadsafe(super().emit_nowait, dict(event))

    def add_log_line(self, line: str) -> None:
        message = LogLine(line=line.encode("utf-8", "replace").decode())
        self._loop.call_soon_threadsafe(self._link.channel.send, message)

    def completion_data(self) -> CompletionData:
        return CompletionData(
            metadata=msgspec.json.encode(self.completion_metadata),
            artifacts=msgspec.json.encode(self.artifacts),
            exit_code=self.exit_code,
        )
