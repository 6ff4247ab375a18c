"""What a handler reports while it runs: events, log lines and artifacts."""

import asyncio
import mimetypes
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from runstead.sdk.durable.history import LOG
from runstead.sdk.durable.pending_calls import PendingCalls
from runstead.sdk.models.artifact import StoredArtifact, Upload
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.resources import Calls
from runstead.sdk.routes.call import Call
from runstead.sdk.worker.outbox import Outbox
from runstead.sdk.worker.threads import in_thread

T = TypeVar("T")

_ANY_TYPE: Final = "application/octet-stream"
LOG_BYTES: Final = 1024 * 1024
#: Room for notes in a log, such as "(2 earlier lines were dropped)".
_NOTE_BYTES: Final = 128
_LOG_EVENT_CHARS: Final = 32 * 1024


class LeaseLostError(Exception):
    """The worker no longer has the run: the lease expired, or the run was cancelled. Writes are refused."""


class NothingToWaitFor:
    """An awaitable that is done already."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class Send(Protocol):
    def __call__(self, call: Call[T]) -> Awaitable[T]: ...


class Emitter:
    """The part of a context that emits events, collects log lines and stores artifacts.

    A handler may set `metadata` (usage: provider, model, inputTokens …) and `exit_code`. They are sent with the
    completion, as are the log lines and the artifacts.
    """

    def __init__(
        self,
        run: ClaimedRun,
        calls: Calls,
        send: Send,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.metadata: dict[str, Any] | None = None
        self.exit_code: int | None = None
        self.artifacts: list[dict[str, Any]] = []
        self.run = run
        self.calls = calls
        self.send = send
        self._sleep = sleep
        self._outbox = Outbox(self._append, sleep)
        self._lines: deque[str] = deque()
        self._line_bytes = 0
        self._dropped = 0
        self._logging = threading.Lock()  # lines come from any thread
        self._earlier_logs = ""  # lines of earlier attempts
        self._closed = False
        self.pending = PendingCalls()
        #: The worker stops the handler: the run was cancelled, its lease is lost, or the worker stops.
        self.stopping = False
        #: The handler calls steps in the cleanup of a cancelled run. A cancel would interrupt it.
        self.cleaning_up = False
        #: Asks whether the run was cancelled, after the handler was stopped.
        self.was_cancelled: Callable[[], Awaitable[bool]] = _unknown

    @property
    def cancelled(self) -> bool:
        """Whether the worker no longer has the run. A handler in a thread has to check it: a thread is not interrupted."""
        return self._closed

    def close(self) -> None:
        """Refuse all events from now on."""
        self._closed = self.stopping = True
        self._outbox.close(self._lease_lost())

    def emit_nowait(self, event: Mapping[str, Any]) -> None:
        """Queue one event, an object with a string `type`, without waiting. It is durable after `flush`."""
        self._check_writable()
        if self._closed:
            raise self._lease_lost()
        self._outbox.put(event)

    def _check_writable(self) -> None:
        """Raise Suspend where the run waits: a block that runs for the wait writes nothing."""

    def _lease_lost(self) -> LeaseLostError:
        return LeaseLostError(f"This worker no longer has the run {self.run.run_id}")

    async def emit(self, event: Mapping[str, Any]) -> None:
        """Queue one event. Wait only while more than 4 MiB of events are queued."""
        self.emit_nowait(event)
        await self.drain()

    async def emit_many(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append events in order, in few requests. They are durable when this returns. Raise LeaseLostError.

        Each event is stored once, also across broken connections and restarts of the server. Each request is one
        transaction.
        """
        for event in events:
            await self.emit(event)
        await self.flush()

    async def flush(self) -> None:
        """Wait until all events are durable. Raise LeaseLostError, or the server's refusal of an event."""
        await self._outbox.flush()

    async def _append(self, batch: list[msgspec.Raw]) -> None:
        await self.send(
            self.calls.events.append(
                self.run.run_id, batch, attempt=self.run.attempt, lease_token=self.run.lease_token
            )
        )

    async def drain(self) -> None:
        """Wait while more than 4 MiB of events are queued."""
        await self._outbox.drain()

    def log(self, line: str) -> None:
        """Add a line to the run's logs. The last MiB is sent with the completion. Any thread may call it."""
        size = len(line.encode("utf-8", "replace")) + 1
        if size > LOG_BYTES:
            line = line.encode("utf-8", "replace")[-LOG_BYTES + 1 :].decode("utf-8", "ignore")
            size = len(line.encode()) + 1
        with self._logging:
            self._lines.append(line)
            self._line_bytes += size
            while self._line_bytes > LOG_BYTES and len(self._lines) > 1:
                self._line_bytes -= len(self._lines.popleft().encode("utf-8", "replace")) + 1
                self._dropped += 1

    def restore_logs(self, lines: str) -> None:
        """Begin the logs with those of earlier attempts, which `store_logs` stored as events."""
        self._earlier_logs = _last(lines)

    def store_logs(self) -> None:
        """Store the log lines as events: this attempt ends without completing the run, and a later one completes it."""
        text = self._new_lines()
        if not text:
            return
        with self._logging:
            self._lines.clear()
            self._line_bytes = self._dropped = 0
        text = text.encode("utf-8", "replace").decode() + "\n"
        for start in range(0, len(text), _LOG_EVENT_CHARS):
            value = {"lines": text[start : start + _LOG_EVENT_CHARS]}
            self.emit_nowait({"type": "CUSTOM", "name": LOG, "value": value})

    def _new_lines(self) -> str:
        """Return this attempt's lines. After lines of earlier attempts they begin with "(attempt n)"."""
        with self._logging:
            if not self._lines:
                return ""
            first = [f"(attempt {self.run.attempt})"] if self._earlier_logs else []
            if self._dropped:
                first.append(f"({self._dropped} earlier lines were dropped)")
            return "\n".join([*first, *self._lines])

    def artifact(
        self,
        source: bytes | bytearray | memoryview | str | os.PathLike[str],
        name: str | None = None,
        media_type: str | None = None,
        *,
        size: int | None = None,
        uri: str | None = None,
        sha256: str | None = None,
        **more: Any,
    ) -> Awaitable[StoredArtifact | None]:
        """Store bytes or a file with the run, or record an artifact that is stored elsewhere.

        `await ctx.artifact(b"…", name="report.csv")` stores bytes. With a path in place of the bytes it stores the
        file. The same bytes under the same name change nothing; other bytes replace them. Without `media_type` the
        type is guessed from the name.

        `ctx.artifact("report.csv", uri="…", size=…)` records an artifact that is stored elsewhere. The record is sent
        with the completion, so there is nothing to await.
        """
        self._check_writable()
        if isinstance(source, str) and name is None:
            known = {"media_type": media_type, "size": size, "uri": uri, "sha256": sha256, **more}
            self.artifacts.append(
                {"name": source} | {key: value for key, value in known.items() if value is not None}
            )
            return NothingToWaitFor()
        if more or size is not None or uri is not None or sha256 is not None:
            raise TypeError("A stored artifact takes a name and a media_type; the server derives the rest")
        if name is None:
            if not isinstance(source, str | os.PathLike):
                raise TypeError('Bytes need a name: await ctx.artifact(b"…", name="report.csv")')
            name = Path(source).name
        if not 0 < len(name) <= 255 or "/" in name or any(ord(char) < 32 for char in name):
            raise ValueError(f"An artifact's name has 1 to 255 characters, no slash and no control: {name!r}")
        return self._store(source, name, media_type or mimetypes.guess_type(name)[0] or _ANY_TYPE)

    async def _store(
        self, source: bytes | bytearray | memoryview | str | os.PathLike[str], name: str, media_type: str
    ) -> StoredArtifact:
        upload = Upload(source)
        sha256 = await in_thread(upload.sha256, f"runstead-{self.run.run_id}")
        if self.run.attempt > 1:  # an earlier attempt may have stored it: gigabytes need not be sent again
            for one in (await self.send(self.calls.runs.get(self.run.run_id))).artifacts:
                if (one.get("name"), one.get("sha256"), one.get("media_type")) == (name, sha256, media_type):
                    with suppress(msgspec.ValidationError):  # it was recorded, not stored
                        return msgspec.convert(one, StoredArtifact)
        answer = await self.send(
            self.calls.artifacts.store(
                self.run.run_id,
                name,
                upload,
                media_type=media_type,
                sha256=sha256,
                attempt=self.run.attempt,
                lease_token=self.run.lease_token,
            )
        )
        return answer.artifact

    @property
    def logs(self) -> str | None:
        """The log lines so far; None where there are none."""
        return _last(self._earlier_logs + self._new_lines()) or None


async def _unknown() -> bool:
    return False


def _last(lines: str) -> str:
    """Return the end of the text, as much as a run's logs may have."""
    if len(lines) <= LOG_BYTES // 4:
        return lines
    return lines.encode("utf-8", "replace")[-LOG_BYTES - _NOTE_BYTES :].decode("utf-8", "ignore")
