"""What a handler reports while it runs: events, log lines and artifacts."""

import asyncio
import mimetypes
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from runstead.sdk.durable.branch import running_step
from runstead.sdk.durable.history import CUSTOM, LOG
from runstead.sdk.durable.pending_calls import PendingCalls
from runstead.sdk.models.artifact import StoredArtifact, Upload
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.resources import Calls
from runstead.sdk.routes.call import Call, members
from runstead.sdk.tracing import AttemptSpan
from runstead.sdk.worker.outbox import Outbox
from runstead.sdk.worker.threads import in_thread

T = TypeVar("T")

#: The bytes of an artifact, or the path of its file.
Source = bytes | bytearray | memoryview | str | os.PathLike[str]
_ANY_TYPE: Final = "application/octet-stream"
LOG_BYTES: Final = 1024 * 1024
#: Room for notes in a log, such as "(2 earlier lines were dropped)".
_NOTE_BYTES: Final = 128
_LOG_EVENT_CHARS: Final = 32 * 1024
#: Lines are stored no later than this, so that followers of a run see them.
_LOG_DELAY_S: Final = 1.0


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

    _now: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))

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
        #: The members of a write that prove that this attempt holds the run.
        self.fence: Final[dict[str, Any]] = {"attempt": run.attempt, "lease_token": run.lease_token}
        self.calls = calls
        self.send = send
        self._sleep = sleep
        self.trace: AttemptSpan | None = None
        self._outbox = Outbox(self._append, sleep)
        self._lines: deque[str] = deque()
        self._line_bytes = 0
        self._dropped = 0
        self._logging = threading.Lock()  # lines come from any thread
        self._stored_lines: list[str] = []  # texts that are stored as events, also of earlier attempts
        self._stored_bytes = 0  # of this attempt
        self._storing: asyncio.TimerHandle | None = None
        #: The loop of the worker, which stores lines while the handler runs. None: they are stored with events.
        self._log_loop: asyncio.AbstractEventLoop | None = None
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
        """Whether the worker no longer has the run."""
        return self._closed

    def close(self) -> None:
        """Refuse all events from now on."""
        self._closed = self.stopping = True
        if self._storing is not None:
            self._storing.cancel()
        self._outbox.close(self._lease_lost())

    def emit_nowait(self, event: Mapping[str, Any]) -> None:
        """Queue one event, an object with a string `type`, without waiting. It is durable after `flush`."""
        self._check_writable()
        if self._closed:
            raise self._lease_lost()
        # A replay logs nothing that precedes a stored step, so lines are stored before the step.
        if self._lines and self._stored_bytes < LOG_BYTES:
            self._put_lines()
        self._outbox.put(event)

    def _emit_custom(self, name: str, value: Mapping[str, Any]) -> None:
        self.emit_nowait({"type": CUSTOM, "name": name, "value": value})

    def _check_writable(self) -> None:
        """Raise Suspend where the run waits: a block that runs for the wait writes nothing."""

    def _lease_lost(self) -> LeaseLostError:
        return LeaseLostError(f"This worker no longer has the run {self.run.run_id}")

    async def emit(self, event: Mapping[str, Any]) -> None:
        """Queue one event. Wait only while more than 4 MiB of events are queued."""
        self.emit_nowait(event)
        await self.drain()

    async def emit_many(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append events in order, in few requests; see `Context.emit_many`."""
        for event in events:
            await self.emit(event)
        await self.flush()

    async def flush(self) -> None:
        """Wait until all events are durable. Raise LeaseLostError, or the server's refusal of an event."""
        await self._outbox.flush()

    async def _append(self, batch: list[msgspec.Raw]) -> None:
        await self.send(self.calls.events.append(self.run.run_id, batch, **self.fence))

    async def drain(self) -> None:
        """Wait while more than 4 MiB of events are queued."""
        await self._outbox.drain()

    def log(self, line: str) -> None:
        """Add a line to the run's log, with its time, attempt and step; see `HandlerContext.log`."""
        if not self.skips_log():
            at = self._now().astimezone(UTC)
            self.add_log_line(
                f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z INFO [{self.place()}] {line}"
            )

    def place(self) -> str:
        """Return the attempt and the step that execute here, such as `attempt 2, charge`."""
        step = running_step()
        return f"attempt {self.run.attempt}" + ("" if step is None else f", {step.name}")

    def skips_log(self) -> bool:
        """Whether a line of this place is in the log already, or will be logged by the real end of the handler."""
        return False

    def add_log_line(self, line: str) -> None:
        """Add a line as it is. Any thread may call it."""
        size = len(line.encode("utf-8", "replace")) + 1
        if size > LOG_BYTES:
            line = line.encode("utf-8", "replace")[-LOG_BYTES + 1 :].decode("utf-8", "ignore")
            size = len(line.encode()) + 1
        with self._logging:
            is_first = not self._lines
            self._lines.append(line)
            self._line_bytes += size
            while self._line_bytes > LOG_BYTES and len(self._lines) > 1:
                self._line_bytes -= len(self._lines.popleft().encode("utf-8", "replace")) + 1
                self._dropped += 1
        if is_first and self._log_loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._log_loop.call_soon_threadsafe(self._store_soon)

    def restore_logs(self, lines: str) -> None:
        """Begin the log with the lines of earlier tries, which are stored as events."""
        self._stored_lines = [lines] if lines else []

    def store_logs(self) -> None:
        """Store the log lines as events: this attempt ends without completing the run, and a later one completes it."""
        if self._lines:
            self._check_writable()
            self._put_lines()

    def _store_soon(self) -> None:
        if self._storing is None and self._log_loop is not None:
            self._storing = self._log_loop.call_later(_LOG_DELAY_S, self._store_due)

    def _store_due(self) -> None:
        self._storing = None
        if self._lines and not self._closed and self._stored_bytes < LOG_BYTES:
            with suppress(Exception):  # the next event reports the refusal
                self._put_lines()

    def _put_lines(self) -> None:
        with self._logging:
            text = self._new_lines().encode("utf-8", "replace").decode() + "\n"
            self._lines.clear()
            self._line_bytes = self._dropped = 0
        self._stored_lines.append(text)
        self._stored_bytes += len(text)
        start = 0
        while start < len(text):
            end = start + _LOG_EVENT_CHARS
            if end < len(text):  # at the end of a line, unless the line is longer than an event
                end = text.rfind("\n", start, end) + 1 or end
            self._outbox.put({"type": "CUSTOM", "name": LOG, "value": {"lines": text[start:end]}})
            start = end

    def _new_lines(self) -> str:
        """Return the lines that are not stored yet. The caller holds the lock."""
        first = [f"({self._dropped} earlier lines were dropped)"] if self._dropped else []
        return "\n".join([*first, *self._lines])

    def artifact(
        self, source: Source, name: str | None, media_type: str | None, facts: Mapping[str, Any]
    ) -> Awaitable[StoredArtifact | None]:
        """Store bytes or a file with the run, or record an artifact that is stored elsewhere; see `Context.artifact`.

        `facts` are the members of a record, which is sent with the completion: there is nothing to await.
        """
        self._check_writable()
        if isinstance(source, str) and name is None:
            self.artifacts.append(members(**{"name": source, "media_type": media_type, **facts}))
            return NothingToWaitFor()
        if members(**facts):
            raise TypeError("A stored artifact takes a name and a media_type; the server derives the rest")
        if name is None:
            if not isinstance(source, str | os.PathLike):
                raise TypeError('Bytes need a name: await ctx.artifact(b"…", name="report.csv")')
            name = Path(source).name
        if not 0 < len(name) <= 255 or "/" in name or any(ord(char) < 32 for char in name):
            raise ValueError(f"An artifact's name has 1 to 255 characters, no slash and no control: {name!r}")
        return self._store(source, name, media_type or mimetypes.guess_type(name)[0] or _ANY_TYPE)

    async def _store(self, source: Source, name: str, media_type: str) -> StoredArtifact:
        upload = Upload(source)
        sha256 = await in_thread(upload.sha256, f"runstead-{self.run.run_id}")
        if self.run.attempt > 1:  # an earlier attempt may have stored it: gigabytes need not be sent again
            for one in (await self.send(self.calls.runs.get(self.run.run_id))).artifacts:
                if (one.get("name"), one.get("sha256"), one.get("media_type")) == (name, sha256, media_type):
                    with suppress(msgspec.ValidationError):  # it was recorded, not stored
                        return msgspec.convert(one, StoredArtifact)
        return await self.store_artifact(name, upload, media_type, sha256)

    async def store_artifact(self, name: str, upload: Upload, media_type: str, sha256: str) -> StoredArtifact:
        """Send an artifact to the server. Raise its refusal."""
        call = self.calls.artifacts.store(
            self.run.run_id, name, upload, media_type=media_type, sha256=sha256, **self.fence
        )
        return (await self.send(call)).artifact

    @property
    def logs(self) -> str | None:
        """The log lines so far; None where there are none."""
        with self._logging:
            return _last("".join([*self._stored_lines, self._new_lines()])).removesuffix("\n") or None


async def _unknown() -> bool:
    return False


def _last(lines: str) -> str:
    """Return the end of the text, as much as a run's logs may have."""
    if len(lines) <= LOG_BYTES // 4:
        return lines
    return lines.encode("utf-8", "replace")[-LOG_BYTES - _NOTE_BYTES :].decode("utf-8", "ignore")
