"""Messages over a stream: four bytes of length, then MessagePack."""

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


def take_now(connection: socket.socket, kind: type[M]) -> M | None:
    """The next message, for who has no event loop yet; None at the end."""
    head = _exactly(connection, _HEAD.size)
    content = head and _exactly(connection, _HEAD.unpack(head)[0])
    return msgspec.msgpack.decode(content, type=kind) if content else None


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        part = connection.recv(min(count - len(content), 1024 * 1024))
        if not part:
            return b""
        content += part
    return bytes(content)


class Channel(Generic[M]):
    """One end of a conversation; `kinds` is what the other end says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kinds: Any) -> None:
        self._reader = reader
        self._writer = writer
        self.taken = 0
        self.waiting = False  # for the next message
        self._decode: Callable[[bytes], M] = msgspec.msgpack.Decoder(kinds).decode

    @classmethod
    async def over(cls, connection: socket.socket, kinds: Any) -> "Channel[M]":
        if connection.family == socket.AF_UNIX:
            return cls(*await asyncio.open_unix_connection(sock=connection), kinds)
        return cls(*await asyncio.open_connection(sock=connection), kinds)

    def put(self, message: Any) -> None:
        """On its way. What nobody reads any more is dropped."""
        if not self._writer.is_closing():
            self._writer.write(frame(message))

    async def drain(self) -> None:
        """Wait while too much is on its way."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def take(self) -> M | None:
        """The next message; None at the end, which a broken frame is too."""
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
        self.taken += 1
        return message

    def close(self) -> None:
        self._writer.close()
