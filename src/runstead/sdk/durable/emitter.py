"""How a handler tells what happens: events, log lines, artifacts."""

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

from runstead.sdk.client_base import Calls
from runstead.sdk.durable.history import LOG
from runstead.sdk.models.artifact import StoredArtifact, Upload
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.routes.call import Call
from runstead.sdk.worker.outbox import Outbox
from runstead.sdk.worker.threads import in_thread

T = TypeVar("T")

_ANY_TYPE: Final = "application/octet-stream"
LOG_BYTES: Final = 1024 * 1024
#: Beside the lines there may be words about them.
_NOTE_BYTES: Final = 128
_SPILL_CHARS: Final = 32 * 1024


class LeaseLostError(Exception):
    """The run is not this worker's any more: its lease ran out, or it was cancelled. What is written is refused."""


class RunFailed(Exception):  # noqa: N818 - an outcome that a handler declares, not an accident
    """Raise it in a handler to fail the run with this message, code and detail (any JSON), without a traceback."""

    def __init__(self, message: str, code: str | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.detail = detail


class NothingToWaitFor:
    """There is nothing to wait for."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class Send(Protocol):
    def __call__(self, call: Call[T]) -> Awaitable[T]: ...


class Emitter:
    """The half of a context that tells.

    `metadata` (usage: provider, model, inputTokens …) and `exit_code` go out with the completion where a handler sets
    them, lines and artifacts always.
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
        self._kept = ""  # lines of earlier attempts
        self._over = False

    @property
    def cancelled(self) -> bool:
        """Whether the run is no longer this worker's. Handlers in threads look at it, since nothing interrupts them."""
        return self._over

    def close(self) -> None:
        """Refuse all that is told from now on."""
        self._over = True
        self._outbox.close(self._lost())

    def emit_nowait(self, event: Mapping[str, Any]) -> None:
        """Append one event, an object with a string `type`: on its way once this returns, durable after `flush`."""
        if self._over:
            raise self._lost()
        self._outbox.put(event)

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(f"Run {self.run.run_id} is not this worker's any more")

    async def emit(self, event: Mapping[str, Any]) -> None:
        """The same, waiting only where very much is on its way already."""
        self.emit_nowait(event)
        await self.drain()

    async def emit_many(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append events in order, in few requests; they are durable once this returns. LeaseLostError.

        Through broken connections and restarts of the server each is stored once. Each request is one transaction.
        """
        for event in events:
            await self.emit(event)
        await self.flush()

    async def flush(self) -> None:
        """Wait until all that was told is durable. LeaseLostError, or what the server refused."""
        await self._outbox.flush()

    async def _append(self, batch: list[msgspec.Raw]) -> None:
        await self.send(
            self.calls.append_events(
                self.run.run_id, batch, attempt=self.run.attempt, lease_token=self.run.lease_token
            )
        )

    async def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far the run has come, from 0 to 1."""
        value = {"fraction": min(max(fraction, 0.0), 1.0), "message": message}
        await self.emit({"type": "CUSTOM", "name": "run.progress", "value": value})

    async def drain(self) -> None:
        """Wait where very much is on its way."""
        await self._outbox.drain()

    def log(self, line: str) -> None:
        """Add a line to the run's logs, which go out with the completion: the last MiB of them. From any thread."""
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
        """What earlier attempts have logged, as `store_logs` has put it there."""
        self._kept = _last(lines)

    def store_logs(self) -> None:
        """Put the lines so far among the events: this attempt ends here, and a later one completes the run."""
        whole = self._new_lines()
        if not whole:
            return
        with self._logging:
            self._lines.clear()
            self._line_bytes = self._dropped = 0
        whole = whole.encode("utf-8", "replace").decode() + "\n"
        for start in range(0, len(whole), _SPILL_CHARS):
            self.emit_nowait(
                {"type": "CUSTOM", "name": LOG, "value": {"lines": whole[start : start + _SPILL_CHARS]}}
            )

    def _new_lines(self) -> str:
        """Those of this attempt, under a line of their own where there are earlier ones."""
        with self._logging:
            if not self._lines:
                return ""
            first = [f"(attempt {self.run.attempt})"] if self._kept else []
            if self._dropped:
                first.append(f"({self._dropped} earlier lines were dropped)")
            return "\n".join([*first, *self._lines])

    def artifact(
        self,
        what: bytes | bytearray | memoryview | str | os.PathLike[str],
        name: str | None = None,
        media_type: str | None = None,
        *,
        size: int | None = None,
        uri: str | None = None,
        sha256: str | None = None,
        **more: Any,
    ) -> Awaitable[StoredArtifact | None]:
        """`await ctx.artifact(b"…", name="report.csv")`, or with the path of a file, stores it with the run. The same
        bytes under the same name change nothing, others take their place. The media type is guessed from the name where
        it is not given.

        `ctx.artifact("report.csv", uri="…", size=…)`, a name alone, notes something that is kept elsewhere; it goes out
        with the completion, and there is nothing to wait for.
        """
        if isinstance(what, str) and name is None:
            known = {"media_type": media_type, "size": size, "uri": uri, "sha256": sha256, **more}
            self.artifacts.append(
                {"name": what} | {key: value for key, value in known.items() if value is not None}
            )
            return NothingToWaitFor()
        if more or size is not None or uri is not None or sha256 is not None:
            raise TypeError("What is stored has a name and a media_type; the server finds out the rest")
        if name is None:
            if not isinstance(what, str | os.PathLike):
                raise TypeError('Bytes need a name: await ctx.artifact(b"…", name="report.csv")')
            name = Path(what).name
        if not 0 < len(name) <= 255 or "/" in name or any(ord(char) < 32 for char in name):
            raise ValueError(f"An artifact's name has 1 to 255 characters, no slash and no control: {name!r}")
        return self._store(what, name, media_type or mimetypes.guess_type(name)[0] or _ANY_TYPE)

    async def _store(
        self, what: bytes | bytearray | memoryview | str | os.PathLike[str], name: str, media_type: str
    ) -> StoredArtifact:
        upload = Upload(what)
        sha256 = await in_thread(upload.sha256, f"runstead-{self.run.run_id}")
        if self.run.attempt > 1:  # an earlier attempt may have stored it: gigabytes need not be sent again
            for one in (await self.send(self.calls.get_run(self.run.run_id))).artifacts:
                if (one.get("name"), one.get("sha256"), one.get("media_type")) == (name, sha256, media_type):
                    with suppress(msgspec.ValidationError):  # a mere note
                        return msgspec.convert(one, StoredArtifact)
        answer = await self.send(
            self.calls.store_artifact(
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
        """The lines so far, None where there is none."""
        return _last(self._kept + self._new_lines()) or None


def _last(lines: str) -> str:
    """As much of it as a run's logs hold, from its end."""
    if len(lines) <= LOG_BYTES // 4:
        return lines
    return lines.encode("utf-8", "replace")[-LOG_BYTES - _NOTE_BYTES :].decode("utf-8", "ignore")
