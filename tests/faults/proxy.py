"""A TCP proxy to the Unix socket of the database, whose connections can be broken."""

import asyncio
import socket
import struct
import threading
from contextlib import suppress


class Proxy:
    """Forwards connections of the TCP port `port` to a Unix socket.

    `sever()` resets all, `hold()` blocks all traffic.
    """

    def __init__(self, path):
        self._path = str(path)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self.severed = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        self._open.set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()

    async def _serve(self, reader, writer):
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_unix_connection(self._path)
            both = {writer, far_writer}
            self._writers |= both
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                self._writers -= both
                for each in both:
                    each.close()
            return
        writer.close()

    async def _pump(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def sever(self):
        """Reset (RST) every connection on both sides. A sent commit may or may not arrive."""

        async def cut():
            self._open.set()
            for writer in list(self._writers):
                with suppress(OSError, AttributeError):
                    sock = writer.get_extra_info("socket")
                    if sock.family == socket.AF_INET:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                self.severed += 1

        self._call(cut())

    def hold(self):
        """Block all traffic in both directions without closing connections, until `sever()`."""

        async def close():
            self._open.clear()

        self._call(close())

    def close(self):
        self.sever()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
