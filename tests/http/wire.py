"""Connections to the application without sockets: tests feed the protocol, and its output is recorded."""

import asyncio
from functools import partial

import uvicorn
from uvicorn.server import ServerState

from runstead.http.framework.connections import Bounds, Connections
from runstead.http.framework.cors import with_cors
from runstead.http.framework.protocol import Protocol
from runstead.http.framework.router import Router

DATE = (b"date", b"Sun, 01 Mar 2026 12:00:00 GMT")


class Transport:
    """The part of an asyncio transport that the protocol uses."""

    def __init__(self, host="192.0.2.1"):
        self.peer = (host, 40_000)
        self.writes = []
        self.closing = self.aborted = self.paused = self.ended = False
        self.protocol = None

    def get_extra_info(self, name, default=None):
        return {"peername": self.peer, "sockname": ("192.0.2.2", 8720)}.get(name, default)

    def write(self, data):
        assert not self.closing
        self.writes.append(bytes(data))

    def get_write_buffer_size(self):
        return 0

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.ended = True

    def is_closing(self):
        return self.closing

    def close(self):
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self):
        self.aborted = True
        self.close()

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


class Wires:
    """The server side. With `plain`, as in the server; without it, every request goes over ASGI."""

    def __init__(self, http_app, *, plain=True, origins=(), given=Bounds(1_000, 1_000, 16)):  # noqa: B008 - a value
        self.connections = Connections(given)
        self.state = ServerState()
        self.state.default_headers = [DATE]
        router = http_app.router if plain else Router(None, [])
        made = partial(Protocol, router, self.connections, cross_origin=bool(origins))
        self.config = uvicorn.Config(
            with_cors(origins, http_app),
            http=made,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self.config.load()

    def open(self, host="192.0.2.1"):
        protocol = self.config.http_protocol_class(
            config=self.config,
            server_state=self.state,
            app_state={},
            _loop=asyncio.get_running_loop(),
        )
        transport = protocol.transport = Transport(host)
        transport.protocol = protocol
        protocol.connection_made(transport)
        return protocol

    async def settle(self):
        """Wait until all requests are answered."""
        while self.state.tasks:
            await asyncio.gather(*self.state.tasks)
            await asyncio.sleep(0)  # a done task leaves the set in a callback, and gather may not yield
        await asyncio.sleep(0)

    async def ask(self, request, protocol=None):
        """Send a request and return the bytes of the answer, over a new connection unless one is given."""
        protocol = protocol or self.open()
        before = len(protocol.transport.writes)
        protocol.data_received(request)
        await self.settle()
        return b"".join(protocol.transport.writes[before:])


def request(method, path, body=b"", **headers):
    """Encode a request. `_` in the name of a header stands for `-`."""
    lines = [f"{method} {path} HTTP/1.1", "host: runstead.test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method not in ("GET", "HEAD"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


def body_of(answer):
    return answer.partition(b"\r\n\r\n")[2]


HEALTH = request("GET", "/healthz")


def sent(protocol):
    return b"".join(protocol.transport.writes)


def answers(protocol):
    """Return the statuses of all answers, in order. No body contains a status line."""
    return [int(part[:3]) for part in sent(protocol).split(b"HTTP/1.1 ")[1:]]
