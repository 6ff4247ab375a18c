"""The context of a handler in a process of its own: all that it tells and asks goes to the worker."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from runstead.sdk.client_base import Calls
from runstead.sdk.durable.context import Context
from runstead.sdk.durable.emitter import LeaseLostError, RunFailed
from runstead.sdk.errors import RunsteadError
from runstead.sdk.isolation.channel import Channel
from runstead.sdk.isolation.messages import (
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
from runstead.sdk.routes.call import Call
from runstead.sdk.transport.exchange import decode
from runstead.sdk.worker.outbox import Outbox

T = TypeVar("T")

#: What is stored through the worker is held in memory on its way.
UPLOAD_BYTES_MAX: Final = 192 * 1024 * 1024


class ParentLink:
    """Questions to the worker, and its answers."""

    def __init__(self, channel: Channel[FromWorker]) -> None:
        self.channel = channel
        self._asked: dict[int, asyncio.Future[bytes | None]] = {}
        self._count = 0

    def settle(self, message: CallResult | CallFailed) -> None:
        asked = self._asked.pop(message.number, None)
        if asked is None or asked.done():
            return
        if isinstance(message, CallResult):
            asked.set_result(message.content)
        else:
            asked.set_exception(_refusal(message))

    async def flush(self) -> None:
        number, asked = self._question()
        self.channel.put(Flush(number=number))
        await asked

    async def send(self, call: Call[T]) -> T:
        content = call.content()
        is_upload = isinstance(content, Upload)
        if isinstance(content, Upload):
            content = await _whole(content)
        number, asked = self._question()
        self.channel.put(
            SendCall(
                number=number,
                method=call.method,
                path=call.path,
                query=list(call.query),
                content=content,
                is_upload=is_upload,
                headers=dict(call.headers),
                idempotency_key=call.idempotency_key,
                repeatable=call.repeatable,
                extra_wait_s=call.extra_wait_s,
                owner=call.owner,
            )
        )
        answer = await asked
        return cast(T, None) if answer is None else decode(answer, call)

    def _question(self) -> "tuple[int, asyncio.Future[bytes | None]]":
        self._count += 1
        asked: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._asked[self._count] = asked
        return self._count, asked


async def _whole(upload: Upload) -> bytes:
    """The process may be on another machine than its worker: the bytes travel, not the path."""
    if upload.size > UPLOAD_BYTES_MAX:
        raise RunFailed(
            f"From a process of its own an artifact has at most {UPLOAD_BYTES_MAX} bytes, not {upload.size}",
            "ARTIFACT_TOO_LARGE",
        )
    return await asyncio.to_thread(lambda: b"".join(upload.chunks()))


def _refusal(message: CallFailed) -> Exception:
    if message.lost:
        return LeaseLostError(message.detail)
    errors = msgspec.json.decode(message.errors, type=list[FieldError])
    return RunsteadError(message.detail, message.status, message.code, errors, message.retry_after_s)


class _ForwardingOutbox(Outbox):
    """An outbox whose events are in the worker's as soon as it reads them: they survive the handler's process."""

    def __init__(self, link: ParentLink) -> None:
        super().__init__(_unsent)
        self._link = link
        self._closed: Exception | None = None

    def put(self, event: Mapping[str, Any]) -> None:
        if self._closed is not None:
            raise self._closed
        self._link.channel.put(EmitEvent(event=msgspec.json.encode(event)))

    async def drain(self) -> None:
        await self._link.channel.drain()

    async def flush(self) -> None:
        if self._closed is not None:
            raise self._closed
        await self._link.flush()

    def close(self, why: Exception) -> None:
        self._closed = self._closed or why


async def _unsent(_batch: list[msgspec.Raw]) -> None:
    """Nothing is ever in this outbox's own queue."""


class ChildContext(Context):
    """What the handler is given. Threads of the handler may call it: what is said is said in the loop's thread."""

    def __init__(self, run: ClaimedRun, link: ParentLink) -> None:
        super().__init__(run, Calls(), link.send)
        self._outbox = _ForwardingOutbox(link)
        self._link = link
        self._loop = asyncio.get_running_loop()

    def emit_nowait(self, event: Mapping[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                super().emit_nowait(event)
                return
        self._loop.call_soon_threadsafe(super().emit_nowait, dict(event))

    def log(self, line: str) -> None:
        message = LogLine(line=line.encode("utf-8", "replace").decode())
        self._loop.call_soon_threadsafe(self._link.channel.put, message)

    def note(self) -> CompletionData:
        return CompletionData(
            metadata=msgspec.json.encode(self.completion_metadata),
            artifacts=msgspec.json.encode(self.artifacts),
            exit_code=self.exit_code,
        )
