"""The connection pool of one client."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpx2

from runstead.sdk.transport.connection import Connection
from runstead.sdk.transport.message import Request, Response

#: Bounds of idle connections. Connections in use have no bound: each follower needs one.
IDLE_MAX: Final = 100
IDLE_S_MAX: Final = 30.0
#: A connection that was idle for longer is checked before it is used: the event loop may not have seen its end yet.
_CHECK_AFTER_S: Final = 1.0


def can_reach(url: httpx2.URL) -> bool:
    """Whether a pool can connect to this server: no proxy is configured for it, and its URL has no password."""
    proxies = getproxies()
    proxied = any(proxies.get(scheme) for scheme in (url.scheme, "all")) and not proxy_bypass(url.host)
    return not proxied and not url.userinfo


class Pool:
    """A `Transport` with one connection per concurrent request. It belongs to one event loop."""

    def __init__(self, url: httpx2.URL) -> None:
        self._host = url.raw_host.decode()
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._host_header = url.netloc.decode()
        self._path = url.raw_path.decode().rstrip("/")
        self._encrypted = url.scheme == "https"
        self._ssl: ssl.SSLContext | None = None
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._closed = False

    async def request(self, request: Request) -> Response:
        connection, response = await self._exchange(request, streamed=False)
        self._release(connection)
        return response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[tuple[Response, AsyncIterator[bytes]]]:
        connection, response = await self._exchange(request, streamed=True)
        try:
            yield response, connection.chunks(request.read_s)
        finally:
            self._release(connection)

    async def aclose(self) -> None:
        self._closed = True
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()

    async def _exchange(self, request: Request, *, streamed: bool) -> tuple[Connection, Response]:
        head = request.head(self._host_header, self._path)
        connection = self._take()
        if connection is not None:
            try:
                return connection, await self._once(connection, head, request, streamed=streamed)
            except httpx2.TransportError:
                if not (request.repeatable and connection.was_stale):
                    raise
        connection = await self._connect(request.timeout_s)
        return connection, await self._once(connection, head, request, streamed=streamed)

    async def _once(
        self, connection: Connection, head: bytes, request: Request, *, streamed: bool
    ) -> Response:
        self._busy.add(connection)
        try:
            return await connection.exchange(
                head, request.content, request.timeout_s, request.read_s, streamed=streamed
            )
        except BaseException:
            self._release(connection)
            raise

    def _take(self) -> Connection | None:
        """Return the idle connection that was used last, if it can still be used."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            idle_s = now - connection.idle_since
            if connection.is_open and (
                idle_s < _CHECK_AFTER_S or (idle_s < IDLE_S_MAX and not connection.peer_closed())
            ):
                return connection
            connection.close()
        return None

    def _release(self, connection: Connection) -> None:
        """Keep a connection that can be reused, and close any other."""
        self._busy.discard(connection)
        if not connection.reusable:
            connection.close()
            return
        now = connection.mark_idle()
        self._idle.append(connection)
        while len(self._idle) > IDLE_MAX or now - self._idle[0].idle_since >= IDLE_S_MAX:
            self._idle.popleft().close()

    async def _connect(self, timeout_s: float) -> Connection:
        if self._closed:
            raise RuntimeError("The client is closed")
        if self._encrypted and self._ssl is None:
            self._ssl = httpx2.create_ssl_context()
            self._ssl.set_alpn_protocols(["http/1.1"])
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    Connection, self._host, self._port, ssl=self._ssl
                )
        except TimeoutError:
            raise httpx2.ConnectTimeout(f"No connection within {timeout_s:g} s") from None
        except (OSError, ssl.CertificateError) as error:
            raise httpx2.ConnectError(str(error) or type(error).__name__) from error
        return connection
