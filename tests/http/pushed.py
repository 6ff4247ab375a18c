"""A push service on a real port, for tests."""

import asyncio
import contextlib
import json
import math
from dataclasses import dataclass, field
from http.client import responses

from runstead.loops.dispatcher import Dispatcher
from runstead.security.signing import new_pair

PAIR = new_pair(0)
ACCEPTED = (202, {"accepted": True, "duplicate": False})


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    raw: bytes

    @property
    def body(self):
        return json.loads(self.raw)

    @property
    def bearer(self):
        return self.headers["authorization"].removeprefix("Bearer ")


@dataclass
class Service:
    """Answers what `answers` holds, in order, then `ACCEPTED` to a POST and 202 to a DELETE.

    An answer is (status, JSON, headers), raw bytes, or a function of the request that may be awaited.
    """

    answers: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def asked(self, method="POST"):
        return [request for request in self.requests if request.method == method]

    async def __aenter__(self):
        self._tasks = set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader, writer):
        self._tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = dict(_pair(line) for line in head[1:] if line)
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(method, path, headers, raw)
                self.requests.append(request)
                default = ACCEPTED if method == "POST" else (202, {"accepted": True})
                answer = self.answers.pop(0) if self.answers else default
                if callable(answer):
                    answer = await answer(request)
                writer.write(answer if isinstance(answer, bytes) else _rendered(*answer))
                await writer.drain()
        writer.transport.abort()


def _pair(line):
    name, _, value = line.partition(": ")
    return name.lower(), value


def _rendered(status, body, headers=()):
    content = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} {responses[status]}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Pushing:
    """The application with a registered service, and a dispatcher that runs on `tick`."""

    def __init__(self, api, service):
        self.api, self.service = api, service
        api.app.leader_state.hold(1, math.inf)
        self.dispatcher = Dispatcher(api.app)

    async def register(self, service=None, by="default", **members):
        url = (service or self.service).url
        body = {"service_name": "scribe", "service_key": "scribe-1", "scope_kind": "project", "base_url": url}
        body |= {"invoke_url": f"{url}/api/runs", "project_id": self.api.project.id, **members}
        body = {name: value for name, value in body.items() if value is not None}
        return (await self.api.post("/agent-runtimes/push-services", body, 201, by=by))["service"]

    async def start(self, by="default", request=None, **members):
        """Create a run with its start payload."""
        given = {"input": {"messages": [{"id": "m1", "role": "user", "parts": []}]}, **(request or {})}
        conversation_id = await self.api.conversation(project_id=self.api.project.id)
        return await self.api.create(self.api.agent(conversation_id, request=given, **members), by=by)

    async def tick(self):
        """Run one tick of the dispatcher, and wait for all calls that it began."""
        await self.dispatcher.tick()
        await self.dispatcher.idle()

    async def tries(self, count, pause_s=301):
        for _ in range(count):
            await self.tick()
            self.api.clock.advance(pause_s)
            await self.register()

    async def run(self, run):
        return await self.api.run(run["run_id"])

    async def outcomes(self, run):
        page = await self.api.get(f"/runs/{run['run_id']}/attempts")
        return [one["outcome"] for one in page["data"]]
