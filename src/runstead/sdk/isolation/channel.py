"""Messages over a stream. Each frame is four bytes of length, then MessagePack."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from runstead.sdk.isolation.messages import FRAME_BYTES_MAX

M = TypeVar("M")

_HEAD: Final = struct.Struct(">I")
_encode: Final = msgspec.msgpack.Encoder().encode


def frame(message: Any) -> bytes:
    content = _encode(message)
    return _HEAD.pack(len(content)) + content


def receive_blocking(connection: socket.socket, message_type: type[M]) -> M | None:
    """Receive a message before the event loop runs. Return None at the end of the stream."""
    head = _receive_exactly(connection, _HEAD.size)
    content = head and _receive_exactly(connection, _HEAD.unpack(head)[0])
    return msgspec.msgpack.decode(content, type=message_type) if content else None


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        part = connection.recv(min(count - len(content), 1024 * 1024))
        if not part:
            return b""
        content += part
    return bytes(content)


class Channel(Generic[M]):
    """One end of a connection. `message_types` are the messages that the other end sends.

    `received` counts the messages received; `waiting`: `receive` waits for the next one.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message_types: Any
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.received = 0
        self.waiting = False
        self._decode: Callable[[bytes], M] = msgspec.msgpack.Decoder(message_types).decode

    @classmethod
    async def over(cls, connection: socket.socket, message_types: Any) -> "Channel[M]":
        if connection.family == socket.AF_UNIX:
            return cls(*await asyncio.open_unix_connection(sock=connection), message_types)
        return cls(*await asyncio.open_connection(sock=connection), message_types)

    def send(self, message: Any) -> None:
        """Queue a message. After the other end has closed the connection, it is dropped."""
        if not self._writer.is_closing():
            self._writer.write(frame(message))

    async def drain(self) -> None:
        """Wait while too many bytes are queued."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> M | None:
        """Receive the next message. Return None at the end of the stream, and for a broken frame."""
        self.waiting = True
        try:
            (size,) = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
            if size > FRAME_BYTES_MAX:
                return None
            message = self._decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            return None
        finally:
            self.waiting = False
        self.received += 1
        return message

    def close(self) -> None:
        self._writer.close()
