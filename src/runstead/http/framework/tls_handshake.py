"""New connections until their TLS handshake is complete (RFC 8446): they count as connections, and have a deadline.

An ASGI server learns of a TLS connection only after its handshake. Without this module, connections that never
begin one could take all open files without being counted.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from runstead.core import limits
from runstead.http.framework.connections import Connections


class Handshake(asyncio.Protocol):
    """A connection during its handshake. Then the protocol that `make_protocol` returns serves it."""

    def __init__(
        self,
        context: ssl.SSLContext,
        make_protocol: Callable[..., Any],
        connections: Connections,
        **options: Any,
    ) -> None:
        self._context = context
        self._make_protocol = make_protocol
        self._guard = connections
        self._options = options
        self._open: set[Any] = options["server_state"].connections  # what a stopping server ends
        self._early = bytearray()  # received before the TLS layer reads, then before the protocol does
        self._lost = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        loop, peer = asyncio.get_running_loop(), transport.get_extra_info("peername")
        if self._guard.admit(self, peer[0] if peer else None) is not None:
            transport.abort()  # no answer can be sent before the handshake
            return
        self._open.add(self)
        self._guard.header.since[self] = loop.time()
        self._task = loop.create_task(self._run())

    async def _run(self) -> None:
        starting = asyncio.ensure_future(
            asyncio.get_running_loop().start_tls(
                self._transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=limits.header_s_max,
                ssl_shutdown_timeout=limits.tls_shutdown_s_max,
            )
        )
        try:
            await asyncio.sleep(0)  # the TLS layer replaces this object as the receiver of data
            await asyncio.sleep(0)  # and connects to the transport
            self._hand_over()
            transport = await starting
        except OSError:  # the peer does not speak TLS, has no common version, or has left
            self._transport.abort()
            return
        finally:
            starting.cancel()
            self._leave()
        if transport is None or self._lost:
            return
        protocol = self._make_protocol(**self._options)
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        if self._early:
            protocol.data_received(bytes(self._early))

    def _hand_over(self) -> None:
        """Pass early data to the TLS layer: uvloop reads at once, even after `pause_reading`."""
        receiver = self._transport.get_protocol()
        while self._early and receiver is not self:
            buffer = memoryview(receiver.get_buffer(len(self._early)))
            piece = self._early[: len(buffer)]
            buffer[: len(piece)] = piece
            del self._early[: len(piece)]
            receiver.buffer_updated(len(piece))

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._lost = True
        self._leave()

    def _leave(self) -> None:
        self._open.discard(self)
        self._guard.header.since.pop(self, None)
        self._guard.leave(self)

    def close(self) -> None:
        """End the handshake: it is late, another connection needs its place, or the server stops."""
        self._leave()
        self._task.cancel()
        self._transport.abort()

    expired = shutdown = close
