"""Bound the unsent data of connections in size and time, so that it does not stay in memory."""

import asyncio
import socket
from array import array
from contextlib import suppress

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runstead.core import limits


class WriteDeadline(HttpToolsProtocol):
    """Aborts a connection when its peer reads nothing for `limits.write_silence_s` seconds.

    The deadline runs while writing is paused, that is while more than the high-water mark (64 KiB in asyncio
    and uvloop) is unsent. It restarts whenever the peer has read something.
    """

    _due: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm()

    def resume_writing(self) -> None:
        self._disarm()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._due = self.loop.call_later(limits.write_silence_s, self._check, self._unsent())

    def _disarm(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _check(self, unsent_before: int) -> None:
        """Restart the deadline if the peer has read.

        Nothing is written while paused, so unsent data only shrinks.
        """
        if self._unsent() < unsent_before:
            self._arm()
        else:
            self.transport.abort()

    def shrink_send_buffer(self) -> None:
        """Bound what the kernel keeps for a peer that does not read: a stream needs no megabytes in flight."""
        sock, size = self.transport.get_extra_info("socket"), limits.stream_send_buffer_bytes_max
        if sock is not None:
            with suppress(OSError, ValueError):  # the peer may have left: then the socket is closed
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def _unsent(self) -> int:
        """Return the bytes that the peer has not read: in the transport, and on Linux in the socket's send
        buffer.

        That buffer can hold megabytes. Without it, a slow reader would look like one that does not read.
        """
        queued = array("i", [0])
        with suppress(OSError, ValueError, ImportError):  # Windows has neither module
            import fcntl  # noqa: PLC0415
            import termios  # noqa: PLC0415

            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        return self.transport.get_write_buffer_size() + queued[0]
