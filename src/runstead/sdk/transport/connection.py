"""One HTTP/1.1 connection: one request at a time, and its response parsed by httptools as it arrives."""

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, cast

import httpx2
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from runstead.sdk.models.artifact import Upload
from runstead.sdk.transport.message import Response

#: Bound of a response's status line and headers, of its trailers, and of the framing between two body chunks.
HEAD_BYTES_MAX: Final = 64 * 1024
#: A streamed body is buffered up to this size.
_AHEAD_BYTES_MAX: Final = 256 * 1024
_WRITE_BYTES: Final = 256 * 1024
_NO_BODY: Final = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """One connection. `exchange()` sends a request, `chunks()` reads a streamed body.

    `reusable`: another request may follow. After a failed exchange the connection is closed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._write_paused = False
        self._read_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._ready: Callable[[], bool] = bool
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = 0.0
        self.is_open = True
        self._begin(streamed=False)
        self._busy = False

    def _begin(self, *, streamed: bool) -> None:
        self._busy = True
        self._streamed = streamed
        self._status = 0
        self._headers: dict[str, str] = {}
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._overhead = 0
        self._received = False
        self._has_head = False
        self._until_eof = False
        self._keep_alive = False
        self._complete = False
        self._error: Exception | None = None

    # For the pool

    @property
    def reusable(self) -> bool:
        return self.is_open and self._complete and self._keep_alive

    @property
    def was_stale(self) -> bool:
        """Whether the server closed the connection without a response: perhaps before it got the request."""
        return not self._received and isinstance(
            self._error, httpx2.NetworkError | httpx2.RemoteProtocolError
        )

    def peer_closed(self) -> bool:
        """Whether the peer has closed the connection, or sent unexpected bytes, that the event loop has not seen yet."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def mark_idle(self) -> float:
        """Mark the connection as idle. Return the time, in seconds of the event loop."""
        self._busy = False
        self._chunks.clear()
        self.idle_since = self._loop.time()
        return self.idle_since

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._transport.abort()

    # One exchange

    async def exchange(
        self, head: bytes, content: bytes | Upload | None, timeout_s: float, read_s: float, *, streamed: bool
    ) -> Response:
        """Send a request, and wait for its response; if `streamed`, for its head. Raise httpx2.RequestError."""
        self._begin(streamed=streamed)
        await self._write(head, content, timeout_s)
        await self._wait(self._has_head_or_end if streamed else self._is_over, read_s, httpx2.ReadTimeout)
        if streamed and 200 <= self._status < 300:
            return Response(self._status, self._headers, b"")
        await self._wait(self._is_over, read_s, httpx2.ReadTimeout)
        self._raise_error()
        return Response(self._status, self._headers, b"".join(self._chunks))

    async def chunks(self, read_s: float) -> AsyncIterator[bytes]:
        """Yield the body of a streamed response."""
        while True:
            await self._wait(self._has_more, read_s, httpx2.ReadTimeout)
            if not self._chunks:
                self._raise_error()
                return
            chunk = self._chunks.popleft()
            self._buffered -= len(chunk)
            if self._read_paused and self._buffered < _AHEAD_BYTES_MAX:
                self._read_paused = False
                self._transport.resume_reading()
            yield chunk

    async def _write(self, head: bytes, content: bytes | Upload | None, timeout_s: float) -> None:
        if not isinstance(content, Upload):
            whole = head + (content or b"")
            if len(whole) <= _WRITE_BYTES:
                self._transport.write(whole)
                return
            for start in range(0, len(whole), _WRITE_BYTES):
                if not await self._write_part(whole[start : start + _WRITE_BYTES], timeout_s):
                    return
            return
        left = content.size
        await self._write_part(head, timeout_s)
        async for chunk in content.async_chunks():
            if not await self._write_part(chunk, timeout_s):
                return
            left -= len(chunk)
        if left:
            raise httpx2.LocalProtocolError(f"The body ended {left} bytes before its announced length")

    async def _write_part(self, part: bytes, timeout_s: float) -> bool:
        """Write a part. Return False where the server has responded already: it may refuse a request by its head."""
        if not self._is_over():
            self._transport.write(part)
            await self._wait(self._has_room, timeout_s, httpx2.WriteTimeout)
        if self._is_over():
            self._keep_alive = False
        self._raise_error()
        return not self._complete

    def _is_over(self) -> bool:
        return self._complete or self._error is not None

    def _has_head_or_end(self) -> bool:
        return self._has_head or self._is_over()

    def _has_more(self) -> bool:
        return bool(self._chunks) or self._is_over()

    def _has_room(self) -> bool:
        return not self._write_paused or self._is_over()

    async def _wait(
        self, ready: Callable[[], bool], seconds: float, error: type[httpx2.TimeoutException]
    ) -> None:
        """Wait until `ready()`. After this many seconds without received bytes the exchange fails with `error`."""
        if not ready():
            self._ready = ready
            self._waiter = waiter = self._loop.create_future()
            self._received_at = self._loop.time()
            self._timer = self._loop.call_later(seconds, self._check_timeout, seconds, error)
            try:
                await waiter
            finally:
                self._waiter = None
                self._timer.cancel()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _check_timeout(self, seconds: float, error: type[httpx2.TimeoutException]) -> None:
        left = self._received_at + seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_timeout, seconds, error)
        else:
            self._fail(error(f"Nothing for {seconds:g} s"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and self._ready():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._busy and not self._is_over():
            self._error = error
            self._wake()
        self.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._complete or self._parser is None:
            self.close()  # no request is open
            return
        self._received = True
        self._received_at = self._loop.time()
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._keep_alive = False  # the response is complete, but unexpected bytes follow it
            if not self._complete:
                self._fail(httpx2.RemoteProtocolError(f"The response is not HTTP: {error}"))
        if self._overhead > HEAD_BYTES_MAX and not self._complete:
            self._fail(httpx2.RemoteProtocolError(f"The head is longer than {HEAD_BYTES_MAX} bytes"))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._parser = None
        if self._busy and not self._is_over():
            if exc is not None:
                self._error = httpx2.ReadError(str(exc) or type(exc).__name__)
            elif self._until_eof:
                self._complete = True
            else:
                what = "in the middle of its response" if self._received else "without a response"
                self._error = httpx2.RemoteProtocolError(f"The server closed the connection {what}")
        self._wake()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()

    # The parser

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("A second response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # trailers are ignored
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200 and status != 101:  # an interim response: the final one follows
            self._headers.clear()
            return
        if sum(map(len, self._headers.values())) > HEAD_BYTES_MAX:
            raise ValueError("Its head is too long")
        self._status = status
        self._has_head = True
        self._overhead = 0
        self._keep_alive = self._parser.should_keep_alive()
        framed = "content-length" in self._headers or "transfer-encoding" in self._headers
        self._until_eof = not framed and status not in _NO_BODY

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        self._chunks.append(body)
        if self._streamed:
            self._buffered += len(body)
            if self._buffered >= _AHEAD_BYTES_MAX and not self._read_paused:
                self._read_paused = True
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = self._has_head
