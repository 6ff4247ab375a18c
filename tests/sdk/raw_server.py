"""A server that sends scripted bytes on each connection, and a client of it."""

import asyncio
from contextlib import asynccontextmanager, suppress

import uvloop

from runstead.sdk import AsyncClient


class RawServer:
    """Serves each connection with the next of `scripts`, and later ones with the last: `async def script(peer)`."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.peers = []
        self._tasks = set()

    async def open(self, **options):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, **options)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        peer = Peer(reader, writer)
        self.peers.append(peer)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await script(peer)
        peer.gone.set()
        writer.close()

    @property
    def requests(self):
        return [request for peer in self.peers for request in peer.requests]


class Peer:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.requests = []
        self.bodies = []
        self.gone = asyncio.Event()

    async def request(self):
        """Read one request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        length = next(
            (
                int(line.split(":")[1])
                for line in head.split("\r\n")
                if line.lower().startswith("content-length")
            ),
            0,
        )
        self.bodies.append(await self.reader.readexactly(length))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def wait_until_closed(self):
        """Wait until the client has closed the connection. `gone` is set then."""
        while await self.reader.read(65536):
            pass


def answers(*responses):
    """Return a script that reads a request and sends a response, in turn, and then waits for the client to close."""

    async def script(peer):
        for response in responses:
            await peer.request()
            await peer.send(response)
        await peer.wait_until_closed()

    return script


def response(body=b'{"status":"ok"}', *lines, status="200 OK"):
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


@asynccontextmanager
async def servers():
    """serve(*scripts, …) returns a raw server and a client of it without retries."""
    opened = []

    async def make(*scripts, path="", tls=None, **options):
        server = await RawServer(*scripts).open(**({} if tls is None else {"ssl": tls}))
        host = options.pop("host", "127.0.0.1")
        scheme = "http" if tls is None else "https"
        options = {"retries": 0, "timeout_s": 5.0, **options}
        client = AsyncClient(f"{scheme}://{host}:{server.port}{path}", "vf_secret", project="p", **options)
        opened.append((server, client))
        return server, client

    yield make
    for server, client in opened:
        await client.aclose()
        await server.close()


def on_uvloop(test):
    """Run a test that only needs `serve` on uvloop, as `runstead worker` does."""

    async def run():
        async with servers() as make:
            await test(make)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


OK = response()
