"""One HTTP/1.1 keep-alive connection with as little CPU time per request as possible.

The load generator shares its machine with the server that it measures, so CPU time spent here lowers the result.
Therefore it has no header objects, no pool and no streaming: one request at a time, prebuilt header bytes, and the
answer's body as one `bytes`.
"""

import asyncio
import re
import time
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec

REQUEST_TIMEOUT_S = 30.0

_FRAMED = re.compile(rb"^(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE | re.MULTILINE)


class DroppedError(ConnectionError):
    """A request got no complete answer: refused, reset, closed early, not HTTP, or too late. It may have had an effect."""


class LateError(DroppedError):
    """A request got no answer within the time."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a server, from a base URL such as `http://127.0.0.1:8720` or `https://host/prefix`."""

    host: str
    port: int
    tls: bool
    authority: str
    prefix: str

    @classmethod
    def from_url(cls, url: str) -> "Target":
        """Raise ValueError where the URL is not an http or https URL with a host."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise ValueError(f"not an http or https URL: {url}")
        tls = parts.scheme == "https"
        return cls(
            host=parts.hostname,
            port=parts.port or (443 if tls else 80),
            tls=tls,
            authority=parts.netloc.rpartition("@")[2],
            prefix=parts.path.rstrip("/"),
        )

    def headers(self, token: str, **extra: str) -> bytes:
        """Return the header lines of requests with this bearer token; `x_name="v"` adds `x-name: v`."""
        lines = [
            f"Host: {self.authority}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
        ]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in extra.items()]
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


class Connection:
    """One connection: `await request(…)` → (status, body). It connects when needed, also after the server closed it.

    `elapsed_ns` and `answered_ns` (perf_counter_ns) are those of the last answered request; they include a reconnect.
    `drops` counts the requests without a complete answer. `head` is the status line and the headers of the last one.
    """

    def __init__(self, target: Target, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self.target = target
        self.elapsed_ns = 0
        self.answered_ns = 0
        self.drops = 0
        self.head = b""
        self._timeout_s = timeout_s
        self._prefix = target.prefix
        self._wire: _Wire | None = None

    @property
    def is_open(self) -> bool:
        return self._wire is not None and self._wire.is_open

    async def open(self) -> None:
        """Connect, unless connected. Raise DroppedError where the server cannot be reached."""
        if not self.is_open:
            self._wire = await self._connect()

    async def request(self, method: str, path: str, body: bytes, headers: bytes) -> tuple[int, bytes]:
        """Send one request and read its answer. The path is percent-encoded; `headers` comes from Target.

        Raise DroppedError where no complete answer came. The request is not retried: it may have had an effect, and the
        caller counts missing answers.
        """
        started_ns = time.perf_counter_ns()
        try:
            wire = self._wire
            if wire is None or not wire.is_open:
                wire = self._wire = await self._connect()
            head = f"{method} {self._prefix}{path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode(
                "ascii"
            )
            answer = await wire.exchange(b"".join((head, headers, b"\r\n", body)), self._timeout_s)
        except DroppedError:
            self.drops += 1
            raise
        self.answered_ns, self.head = wire.answered_ns, wire.head
        self.elapsed_ns = wire.answered_ns - started_ns
        return answer

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _connect(self) -> "_Wire":
        loop = asyncio.get_running_loop()
        target = self.target
        opening = loop.create_connection(_Wire, target.host, target.port, ssl=target.tls or None)
        try:
            _, wire = await asyncio.wait_for(opening, self._timeout_s)
        except (OSError, TimeoutError) as error:
            raise DroppedError(f"cannot connect to {target.authority}: {error or 'timed out'}") from error
        return wire


class _Wire(asyncio.Protocol):
    """One TCP connection. A reconnect creates another, so that late callbacks of the old one have no effect."""

    def __init__(self) -> None:
        self.is_open = False
        self.answered_ns = 0
        self.head = b""  # of the last answer
        self._transport: Any = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self._head = b""
        self._head_complete = False
        self._parts: list[bytes] = []

    async def exchange(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        assert self._waiter is None, "one request at a time"
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self._waiter = waiter
        timer = loop.call_later(timeout_s, self._fail, LateError(f"no answer within {timeout_s:g} s"))
        self._transport.write(request)
        try:
            return await waiter
        except asyncio.CancelledError:
            # The late answer must not be taken for the next request's.
            self.abort()
            raise
        finally:
            timer.cancel()

    def abort(self) -> None:
        self.is_open = False
        self._waiter = None
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            # Bytes without a request, such as a 408 before an idle close. Later bytes could be taken for an answer.
            self.abort()
            return
        if not self._head_complete:
            self._head += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(DroppedError(f"not an HTTP/1.1 answer: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiter is None:
            return
        head = self._head.partition(b"\r\n\r\n")[0]
        if exc is None and self._head_complete and not _FRAMED.search(head):
            # Without a length the body ends with the connection (RFC 9112, 6.3).
            self._answer()
        else:
            where = "within" if head else "before"
            self._fail(DroppedError(f"connection dropped {where} the answer: {exc or 'closed'}"))

    # httptools

    def on_headers_complete(self) -> None:
        self._head_complete = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            # An interim answer (103 Early Hints). The final one follows.
            self._head, self._head_complete = b"", False
        else:
            self._answer()

    def _answer(self) -> None:
        waiter, parts = self._waiter, self._parts
        if waiter is None:
            self.abort()
            return
        self.answered_ns = time.perf_counter_ns()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.head = self._head
        self._waiter, self._parts, self._head, self._head_complete = None, [], b"", False
        if self.is_open and not self._parser.should_keep_alive():
            self.is_open = False
            self._transport.close()
        if not waiter.done():
            waiter.set_result((self._parser.get_status_code(), body))

    def _fail(self, reason: DroppedError) -> None:
        waiter = self._waiter
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(reason)
