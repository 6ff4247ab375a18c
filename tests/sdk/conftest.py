"""Test doubles of the SDK: a clock that tests move, scripted answers, and a fake server for one worker."""

import asyncio
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import httpx2
import msgspec
import pytest

from runstead.sdk import AsyncClient, Calls, Context, LeaseLostError, Retries, Worker
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.models.event import Appended, Event, EventPage
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.response import PageInfo

CLAIM = {"status": "running", "kind": "task", "target": "task:t", "latest_event_id": 0}


class Script:
    """Answers requests with its outcomes, in order, and records the requests. Exceptions are raised."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Broken(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in chunks that ends with an error, if one is given."""

    def __init__(self, *chunks, error=None):
        self.chunks, self.error = chunks, error

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks
        if self.error is not None:
            raise self.error

    async def __aiter__(self):
        for chunk in self:
            yield chunk


def frame(number, kind="CUSTOM", **members):
    data = json.dumps({"type": kind, **members})
    return f"id: {number}\nevent: X\ndata: {data}\n\n".encode()


def stream(*chunks, error=None):
    return httpx2.Response(
        200, headers={"Content-Type": "text/event-stream"}, stream=Broken(*chunks, error=error)
    )


def run_body(run_id="r", status="running", **members):
    return {
        "run_id": run_id,
        "kind": "task",
        "status": status,
        "owner": {"kind": "project", "id": "p"},
        "root_run_id": run_id,
        "created_at": "2026-03-20T12:00:00.000Z",
        "updated_at": "2026-03-20T12:00:00.000Z",
        "artifacts": [],
        **members,
    }


async def settle(rounds=200):
    """Let all tasks run that wait for neither time nor I/O."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class ManualTime:
    """A clock that moves only in `advance`."""

    def __init__(self):
        self.now = 0.0
        self._sleepers = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self.now + seconds, asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    async def advance(self, seconds):
        """Move the clock, and wake every sleeper at its time, in order."""
        end = self.now + seconds
        await settle()
        while True:
            due = [s for s in self._sleepers if s[0] <= end and not s[1].done()]
            if not due:
                break
            at, future = min(due, key=lambda s: s[0])
            self.now = max(self.now, at)
            future.set_result(None)
            await settle()
        self.now = end


class FakeServer:
    """A fake server for one worker. `fail` may return a response, or raise, for any request."""

    def __init__(self):
        self.queue = []
        self.arrived = asyncio.Event()
        self.runs = {}
        self.events = []
        self.completions = []
        self.releases = []
        self.heartbeats = []
        self.seen = []
        self.claim = {}  # members of the runs that are claimed
        self.tokens = 0
        self.fail: Callable[[str], httpx2.Response | None] = lambda _name: None

    def add(self, run_id, attempt=1):
        self.runs[run_id] = {"status": "running", "attempt": attempt, "token": f"lease-{run_id}-{attempt}"}
        self.queue.append(run_id)
        self.arrived.set()

    async def __call__(self, request):
        name = f"{request.method} {request.url.path}"
        body = json.loads(request.content or b"{}")
        self.seen.append((name, dict(request.headers), body))
        failure = self.fail(name)
        if failure is not None:
            return failure
        parts = request.url.path.strip("/").split("/")
        if parts[0] == "agent-workers":
            return await self._worker(parts, body)
        if parts[0] == "projects":  # as a server that has no such stream
            return httpx2.Response(404, json={"detail": "?", "code": "NOT_FOUND"})
        run = self.runs[parts[1]]
        if request.method == "GET":
            return httpx2.Response(200, json=run_body(parts[1], run["status"]))
        if body.get("attempt") != run["attempt"] or request.headers.get("X-Lease-Token") != run["token"]:
            return problem(409, "ATTEMPT_SUPERSEDED")
        return self._write(parts[1], parts[2], run, body)

    def _write(self, run_id, what, run, body):
        if what == "heartbeats":
            self.heartbeats.append(run_id)
            if run["status"] != "running":
                return problem(409, "ATTEMPT_SUPERSEDED")
            return httpx2.Response(200, json={"run": run_body(run_id, run["status"])})
        if what == "events":
            if run["status"] == "cancelled":
                return problem(400, "EVENT_RUN_TERMINAL")
            self.events.append((run_id, body["events"]))
            answer = {"latest_event_id": 1, "appended_count": len(body["events"])}
            return httpx2.Response(200, json={"run": run_body(run_id), **answer})
        self.completions.append((run_id, body))
        agrees = run["status"] in {"running", body["status"]}
        if run["status"] == "running":
            run["status"] = body["status"]
        return httpx2.Response(200, json={"completed": agrees, "run": run_body(run_id, run["status"])})

    async def _worker(self, parts, body):
        if parts[1] == "projects":
            self.tokens += 1
            worker = {"id": "w", "project_id": "p", "status": "active"}
            kind = {"implementation_kind": body["implementation_kind"], "worker_key": body["worker_key"]}
            return httpx2.Response(201, json={"worker": worker | kind, "token": f"vfw_{self.tokens}"})
        if parts[-1] == "claim":
            if body["wait_seconds"]:
                await self.arrived.wait()
            found = [self.queue.pop(0) for _ in range(min(len(self.queue), body["max_runs"]))]
            if not self.queue:
                self.arrived.clear()
            runs = [
                {
                    "run_id": r,
                    "attempt": self.runs[r]["attempt"],
                    "lease_token": self.runs[r]["token"],
                    **CLAIM,
                    **self.claim,
                }
                for r in found
            ]
            return httpx2.Response(200, json={"run": runs[0] if runs else None, "runs": runs})
        if parts[-1] == "release":
            self.releases.append((parts[4], body))
            return httpx2.Response(200, json={"run": run_body(parts[4], "pending")})
        return httpx2.Response(404, json={"detail": "?", "code": "NOT_FOUND"})


def problem(status, code, **headers):
    return httpx2.Response(status, json={"detail": f"Because {code}", "code": code}, headers=headers)


class Harness:
    """A worker with a fake server and a manual clock."""

    def __init__(self, handler, **options):
        self.server, self.time, self.settle = FakeServer(), ManualTime(), settle
        self.client = AsyncClient(
            "http://server",
            "original",
            project="shop",
            transport=httpx2.MockTransport(self.server),
            retries=Retries(times=0),
            sleep=self.time.sleep,
        )
        options = {"kinds": ["task"], "lease_seconds": 30, "worker_key": "k", **options}
        self.worker = Worker(
            self.client,
            handler,
            clock=self.time.clock,
            sleep=self.time.sleep,
            retries=Retries(jitter=lambda: 1.0),
            **options,
        )
        self.serving = asyncio.ensure_future(self.worker.serve())

    def sent(self, ending):
        return [(headers, body) for name, headers, body in self.server.seen if name.endswith(ending)]

    async def until(self, condition):
        """Wait, in real time, for the work of a thread."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what it waits for happens in a thread
                await asyncio.sleep(0.001)

    async def stop(self):
        self.worker.stop()
        await self.time.advance(100)
        await self.serving


@pytest.fixture
async def harness():
    made = []

    def make(handler, **options):
        made.append(Harness(handler, **options))
        return made[-1]

    yield make
    for one in made:
        one.serving.cancel()
        await asyncio.gather(one.serving, return_exceptions=True)


@pytest.fixture
def kit():
    """The test doubles by name."""

    class Kit:
        pass

    for thing in (Script, ManualTime, FakeServer, frame, stream, run_body, problem, settle):
        setattr(Kit, thing.__name__, staticmethod(thing))
    return Kit


class HandlerServer:
    """A fake server for a handler's context. It stores the run's events."""

    def __init__(self, app, name, *, input=None, **config):  # noqa: A002
        self.app = app
        self.run = ClaimedRun(
            run_id="r",
            project_id="p",
            status="running",
            target=f"task:{name}",
            attempt=0,
            lease_token="t",
            latest_event_id=0,
            config=config,
            input=input,
        )
        self.events, self.calls, self.lost = [], [], False
        self.ended_by_hand = False
        self.attempt()

    def attempt(self):
        """Claim the run again, with a new context."""
        self.run = msgspec.structs.replace(self.run, attempt=self.run.attempt + 1)
        self.context = Attempt(self.run, Calls(), self.send)

    async def send(self, call):
        await asyncio.sleep(0)
        self.calls.append(call)
        if self.lost:
            raise LeaseLostError("lost")
        what = call.path.rsplit("/", 1)[-1]
        if call.method == "PUT":
            stored = {"name": what, "media_type": "t", "size": 3, "sha256": "s", "uri": "u"}
            return json.dumps({"stored": True, "artifact": stored}).encode()
        body = json.loads(call.content() or b"null")
        if what == "events" and call.method == "GET":
            return EventPage(data=list(self.events), page_info=PageInfo())
        if what == "events":
            for payload in body["events"]:
                self.add_event(payload)
            return Appended
        if what == "wait":
            self.waits = body
            on = self.ended_by_hand or body.get("tool_name") == "retry"
            status = "running" if on else "waiting"
            return SimpleNamespace(run=SimpleNamespace(status=status), signal=None)
        return json.dumps({"accepted": True, "run": run_body("child", "pending")}).encode()

    def add_event(self, payload):
        self.events.append(Event(event_id=len(self.events) + 1, event_type=payload["type"], payload=payload))

    async def run_handler(self):
        result = await self.app(self.run, Context(self.context))
        await self.context.flush()
        return result


@pytest.fixture
def handler_server():
    return HandlerServer
