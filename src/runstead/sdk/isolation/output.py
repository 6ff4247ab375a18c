"""The output of a program: its lines become events up to a bound, and its last MiB becomes the run's log."""

import asyncio
import codecs
from collections import deque
from collections.abc import Iterator
from typing import IO, Final, Literal

from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.emitter import LOG_BYTES

CHUNK_BYTES: Final = 64 * 1024
#: The text of one event.
TEXT_CHARS: Final = 16 * 1024
#: Lines are collected for this time before they become an event.
DELAY_S: Final = 0.2
#: This much of each stream becomes events. Later output is in the log only.
STREAMED_CHARS_MAX: Final = 8 * 1024 * 1024
LINE_BYTES_MAX: Final = 1024 * 1024 + 1


class OutputLog:
    """The last MiB of the output of both streams."""

    def __init__(self) -> None:
        self._parts: deque[str] = deque()
        self._chars = 0
        self._dropped = False

    def add(self, text: str) -> None:
        if self._parts and len(self._parts[-1]) + len(text) <= CHUNK_BYTES:
            self._parts[-1] += text  # many small strings would use more memory than their text
        else:
            self._parts.append(text)
        self._chars += len(text)
        while self._chars - len(self._parts[0]) > LOG_BYTES:
            self._chars -= len(self._parts.popleft())
            self._dropped = True

    def lines(self) -> Iterator[str]:
        if self._dropped:
            yield "(earlier output was dropped)"
        text = "".join(self._parts)
        yield from text.removesuffix("\n").split("\n") if text else ()


class OutputStream:
    """Reads stdout or stderr of a program. The program waits only while too many events are queued for the server."""

    def __init__(
        self,
        name: Literal["stdout", "stderr"],
        pipe: IO[bytes],
        attempt: Attempt,
        log: OutputLog,
        *,
        keeps_line: bool = False,
    ) -> None:
        self._name = name
        self._pipe = pipe
        self._attempt = attempt
        self._log = log
        self._pending = ""
        self._streamed = 0
        self._keeps_line = keeps_line
        self._line = b""  # the last line that is not blank
        self._open = b""  # the line that has not ended

    @property
    def last_line(self) -> bytes:
        return self._open if self._open.strip() else self._line

    async def read(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=CHUNK_BYTES)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._pipe)
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        until: float | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        chunk = await reader.read(CHUNK_BYTES)
                except TimeoutError:
                    await self._emit(whole=False)
                    until = None if not self._pending else loop.time() + DELAY_S
                    continue
                if self._keeps_line:
                    self._keep_line(chunk)
                await self._take(decode(chunk, final=not chunk))
                if not chunk:
                    await self._emit(whole=True)
                    return
                if not self._pending:
                    until = None
                elif until is None:
                    until = loop.time() + DELAY_S
        finally:
            transport.close()

    async def _take(self, text: str) -> None:
        self._log.add(text)
        left = STREAMED_CHARS_MAX - self._streamed
        if left <= 0 or not text:
            return
        self._streamed += len(text)
        self._pending += text[:left]
        while len(self._pending) >= TEXT_CHARS:
            await self._emit(whole=False)
        if self._streamed >= STREAMED_CHARS_MAX:
            self._pending += "\n(later output is not streamed; the run's log has its end)\n"
            await self._emit(whole=True)

    async def _emit(self, *, whole: bool) -> None:
        """Emit the pending text up to the last line end; all of it if `whole`, or if it has no line end."""
        while self._pending:
            cut = self._pending.rfind("\n", 0, TEXT_CHARS) + 1
            if (whole and len(self._pending) <= TEXT_CHARS) or cut == 0:
                cut = TEXT_CHARS
            text, self._pending = self._pending[:cut], self._pending[cut:]
            value = {"stream": self._name, "text": text.replace("\x00", "\ufffd")}
            # Not `emit`: a retried program emits its output again, also where it is the same as before.
            self._attempt.emit_nowait({"type": "CUSTOM", "name": "run.output", "value": value})
            await self._attempt.drain()
            if not whole:
                return

    def _keep_line(self, chunk: bytes) -> None:
        *ended, rest = (self._open + chunk)[-LINE_BYTES_MAX:].split(b"\n")
        self._line = next((line for line in reversed(ended) if line.strip()), self._line)
        self._open = rest
