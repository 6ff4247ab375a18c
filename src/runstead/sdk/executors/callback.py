"""The worker's side of runs on a cluster: it listens, and identifies each task by its token."""

import asyncio
import contextlib
import errno
import hashlib
import secrets
import socket
from collections.abc import Awaitable
from typing import Any, Final, Protocol

from runstead.sdk.executors.remote import CODE, CONTROL, KILL, MESSAGES, TERMINATE, TOKEN_BYTES
from runstead.sdk.isolation.channel import Channel
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.isolation.messages import FromHandler

#: How long a new connection may take to send its token.
_GREETING_TIMEOUT_S: Final = 10.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Submitted(Protocol):
    """A task of the cluster."""

    def wait(self) -> Awaitable[object]:
        """Wait until the task has ended. Raise the task's exception."""

    async def cancel(self) -> None:
        """Cancel the task on the cluster."""


class Cluster(Protocol):
    async def submit(self, host: str, port: int, token: str) -> Submitted:
        """Run `serve_run` with these arguments on the cluster."""

    def route(self) -> str:
        """Return the cluster's host, or an empty string where the cluster is this machine."""

    async def close(self) -> None: ...


class RemoteProcess:
    """A handler's process on the cluster."""

    def __init__(self, control: Streams, messages: Streams, submitted: Submitted) -> None:
        self.channel: Channel[FromHandler] = Channel(*messages, FromHandler)
        self._control = control
        self._submitted = submitted

    def terminate(self) -> None:
        self._send(TERMINATE)

    def kill(self) -> None:
        self._send(KILL)

    def _send(self, command: bytes) -> None:
        if not self._control[1].is_closing():
            self._control[1].write(command)

    async def ended(self) -> int | None:
        try:
            (code,) = CODE.unpack(await self._control[0].readexactly(CODE.size))
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._submitted.cancel()
            return None
        finally:
            self._control[1].close()
            self.channel.close()
        return int(code)


class Callback:
    """An executor over a cluster. `callback` is the worker's address, `host:port`; empty: it is detected."""

    exact_path = False

    def __init__(self, cluster: Cluster, callback: str = "") -> None:
        self._cluster = cluster
        host, _, port = callback.rpartition(":") if callback else ("", "", "0")
        if callback and not (host and port.isdecimal()):
            raise ValueError(f"callback is like 10.0.0.5:9700, not {callback!r}")
        self._host = host
        self._port = int(port)
        self._opening = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._expected: dict[bytes, asyncio.Future[Streams]] = {}

    async def start(self) -> RemoteProcess:
        try:
            async with self._opening:
                if self._server is None:
                    self._server = await self._listen()
            return await self._submit()
        except ProcessFailed:
            raise
        except Exception as error:
            raise ProcessFailed(f"The executor failed: {_describe(error)}", "EXECUTOR_LOST") from error

    async def _submit(self) -> RemoteProcess:
        token = secrets.token_urlsafe(32)
        assert len(token) == TOKEN_BYTES
        loop = asyncio.get_running_loop()
        connections: list[asyncio.Future[Streams]] = [loop.create_future(), loop.create_future()]
        keys = [_key(kind, token) for kind in (CONTROL, MESSAGES)]
        self._expected |= dict(zip(keys, connections, strict=True))
        submitted: Submitted | None = None
        running: asyncio.Future[Any] | None = None
        try:
            submitted = await self._cluster.submit(self._host, self._port, token)
            running = asyncio.ensure_future(submitted.wait())
            both = asyncio.gather(*connections)
            await asyncio.wait([both, running], return_when=asyncio.FIRST_COMPLETED)
            if not both.done():
                both.cancel()
                raise ProcessFailed(f"The executor failed: {_why(running)}", "EXECUTOR_LOST")
            control, messages = both.result()
            return RemoteProcess(control, messages, submitted)
        except BaseException:
            for connection in connections:
                if connection.done() and not connection.cancelled():
                    connection.result()[1].close()
                connection.cancel()
            if submitted is not None:
                await asyncio.shield(submitted.cancel())
            raise
        finally:
            for key in keys:
                self._expected.pop(key, None)
            if running is not None:
                # A later exception of the task closes its connection, which reports it.
                running.add_done_callback(lambda one: one.cancelled() or one.exception())

    async def _listen(self) -> asyncio.Server:
        host = self._host or _own_address(self._cluster.route())
        try:
            server = await asyncio.start_server(self._accept, host, self._port)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or not self._port:
                raise
            # The cluster reaches this machine through another host's address, which forwards the connections.
            server = await asyncio.start_server(self._accept, None, self._port)
        self._host, self._port = host, server.sockets[0].getsockname()[1]
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_GREETING_TIMEOUT_S):
                greeting = await reader.readexactly(1 + TOKEN_BYTES)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        # A token is valid for one connection. If the cluster runs a task again, the second one is refused.
        expected = self._expected.pop(_key(greeting[:1], greeting[1:].decode("ascii", "replace")), None)
        if expected is None or expected.done():
            writer.close()
            return
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        writer.write(greeting[:1])
        expected.set_result((reader, writer))

    async def close(self) -> None:
        """Stop listening, and disconnect from the cluster."""
        if self._server is not None:
            self._server.close()
        await self._cluster.close()


def _key(kind: bytes, token: str) -> bytes:
    """Hash the token, so that the duration of a look-up reveals nothing about it."""
    return hashlib.sha256(kind + token.encode()).digest()


def _own_address(host: str) -> str:
    """Return the address of this machine's interface towards the host."""
    if not host:
        return "127.0.0.1"
    for family, kind, _, _, address in socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM):
        with contextlib.suppress(OSError), socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def _why(running: "asyncio.Future[Any]") -> str:
    error = running.exception() if running.done() and not running.cancelled() else None
    return "the task ended before it started" if error is None else _describe(error)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
