"""Connections whose peer does not read are closed: what waits for it must not stay in memory for as long as it likes."""

import asyncio
import fcntl
import termios
from array import array
from contextlib import suppress

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runstead.core import limits


class WriteDeadline(HttpToolsProtocol):
    """uvicorn's protocol, which also aborts a connection once its peer has taken nothing for `limits.write_silence_s`.

    While more than the high-water mark waits to be sent (64 KiB in asyncio and uvloop), the transport holds the
    application up; the deadline runs from then on, and begins anew whenever the peer has taken a part.
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
        self._due = self.loop.call_later(limits.write_silence_s, self._look, self._unsent())

    def _disarm(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _look(self, waited: int) -> None:
        """Nothing is added while writing is paused, so that what waits can only have become less."""
        if self._unsent() < waited:
            self._arm()
        else:
            self.transport.abort()

    def _unsent(self) -> int:
        """Bytes that the peer has not taken: in the transport, and in the system's send buffer where it tells (Linux), or
        a peer that reads slowly would look like one that does not read: megabytes may wait there.
        """
        queued = array("i", [0])
        with suppress(OSError):
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        return self.transport.get_write_buffer_size() + queued[0]
