"""A raw HTTP server for the connection, and a small in-memory deployment that can be told to break exactly-once."""

import asyncio
import copy
import itertools
import json

import pytest

KEY = "vf_test_secret"
TERMINAL = ("completed", "failed", "cancelled")


async def read_request(reader):
    """(method, path, headers, body), or None once the client is gone."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return method, path, headers, await reader.readexactly(int(headers.get("content-length", "0")))


@pytest.fixture
async def serve():
    """serve(handler) starts a server that calls `await handler(reader, writer)` per connection and gives its URL."""
    servers, writers = [], []

    async def start(handler):
        async def on_connection(reader, writer):
            writers.append(writer)
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.close()


class FakeDeployment:
    """Correct unless `fault` names what it gets wrong; `requests` are the (method, path, headers, body) it saw."""

    def __init__(self):
        self.fault = None
        self.requests = []
        self.runs = {}
        self.events = {}
        self.tokens = {}
        self.reads = {}
        self.connections = 0
        self._ids = itertools.count(1)

    async def handle(self, reader, writer):
        self.connections += 1
        while (request := await read_request(reader)) is not None:
            self.requests.append(request)
            method, path, headers, body = request
            answer = self.answer(method, path.partition("?")[0], headers, json.loads(body or b"null"))
            if answer is None:
                return
            status, content = answer
            payload = json.dumps(content).encode()
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(payload), payload))
            await writer.drain()

    def answer(self, method, path, headers, body):
        parts = path.strip("/").split("/")
        if path == "/healthz":
            return 200, {"status": "ok"}
        if headers["authorization"] not in {f"Bearer {KEY}", "Bearer worker-token"}:
            return 401, {"detail": "Unknown credential", "code": "UNAUTHENTICATED"}
        match method, parts:
            case "GET", ["projects", "demo"]:
                return 200, {"id": "p-1", "slug": "demo", "name": "Demo"}
            case "POST", ["agent-workers", "projects", "demo", "workers"]:
                return 201, {"worker": {"id": "w-1"}, "token": "worker-token"}
            case "POST", ["agent-workers", "workers", "w-1", "claim"]:
                assert headers["authorization"] == "Bearer worker-token"
                return 200, {"run": self.claim(body["targets"])}
            case "POST", ["runs"]:
                return 202, {"accepted": True, "run": self.create(body)}
            case "GET", ["runs", run_id]:
                return 200, self.read(run_id)
            case "GET", ["runs", run_id, "events"]:
                return 200, {"data": self.events[run_id], "page_info": {"next": None}}
            case "POST", ["runs", run_id, "events"]:
                return self.append(run_id, headers, body)
            case "POST", ["runs", run_id, ("complete" | "cancel") as verb]:
                return self.finish(run_id, verb, body)
        return 404, {"detail": "Not Found", "code": "NOT_FOUND"}

    def create(self, body):
        run_id = f"run_{next(self._ids)}"
        self.runs[run_id] = {"run_id": run_id, "status": "pending", "target": body["request"]["target"]}
        self.runs[run_id] |= {"completed_at": None, "duration_ms": None, "error": None, "metadata": None}
        self.events[run_id] = []
        return self.runs[run_id]

    def claim(self, targets):
        if self.fault == "nothing claimable":
            return None
        for run in self.runs.values():
            if run["status"] == "pending" and run["target"] in targets:
                run["status"] = "running"
                self.tokens[run["run_id"]] = f"lease-{run['run_id']}"
                return run | {"attempt": 1, "lease_token": self.tokens[run["run_id"]]}
        return None

    def append(self, run_id, headers, body):
        if "x-lease-token" in headers and headers["x-lease-token"] != self.tokens[run_id]:
            return 409, {"detail": "Attempt superseded", "code": "ATTEMPT_SUPERSEDED"}
        for event in body["events"]:
            self.add_event(run_id, event["type"])
        return 200, {"run": self.runs[run_id], "appended_count": len(body["events"])}

    def add_event(self, run_id, name):
        log = self.events[run_id]
        log.append(
            {"event_id": len(log) + 1, "event_type": name, "payload": {"type": name}, "created_at": "t"}
        )

    def read(self, run_id):
        self.reads[run_id] = self.reads.get(run_id, 0) + 1
        if self.fault == "a later read differs" and self.reads[run_id] == 2:
            self.runs[run_id]["metadata"] = {"provider": "late"}
        if self.fault == "an event comes later" and self.reads[run_id] == 2:
            self.add_event(run_id, "RUN_ERROR")
        return self.runs[run_id]

    def finish(self, run_id, verb, body):
        run = self.runs[run_id]
        status = "cancelled" if verb == "cancel" else body["status"]
        member = "cancelled" if verb == "cancel" else "completed"
        first = run["status"] not in TERMINAL
        same = run["status"] == status
        if not first:
            if self.fault == "a loser drops the connection":
                return None
            if self.fault == "a loser gets a 500":
                return 500, {"detail": "Internal error"}
            if self.fault == "two winners" and not same:
                return 200, {member: True, "run": run | {"status": status}}
            if self.fault == "a loser is shown a stale run":
                return 200, {member: same and verb == "complete", "run": run | {"status": "running"}}
            if self.fault == "every cancel is true" and verb == "cancel":
                return 200, {member: True, "run": run}
            if self.fault == "the winner's repeat is false" and same:
                return 200, {member: False, "run": run}
            if self.fault == "two terminal events" and not same:
                self.add_event(run_id, "RUN_FINISHED")
        if first or self.fault == "the last one wins":
            self.write(run, status, verb, body)
            return 200, {member: True, "run": copy.deepcopy(run)}
        return 200, {member: verb == "complete" and same, "run": run}

    def write(self, run, status, verb, body):
        run |= {"status": status, "completed_at": f"t{next(self._ids)}", "duration_ms": 1}
        if verb == "cancel":
            run |= {"metadata": None, "error": {"message": "Run cancelled", "code": "CANCELLED"}}
        elif status == "failed":
            message = body["terminal_error_message"]
            run |= {"metadata": None, "error": {"message": message, "code": body["terminal_error_code"]}}
        else:
            run |= {"metadata": body["metadata"], "error": None}
        if self.fault == "no caller wrote it" and status != "cancelled":
            run |= {"metadata": {"providerRequestId": "unknown"}, "error": {"message": "unknown"}}
        if self.fault == "no terminal event":
            return
        right = "RUN_FINISHED" if status == "completed" else "RUN_ERROR"
        wrong = "RUN_ERROR" if status == "completed" else "RUN_FINISHED"
        self.add_event(run["run_id"], wrong if self.fault == "the wrong terminal event" else right)
        if self.fault == "an event after the terminal one":
            self.add_event(run["run_id"], "CUSTOM")


@pytest.fixture
def key():
    return KEY


@pytest.fixture
async def deployment(serve):
    """A FakeDeployment with its `url`."""
    fake = FakeDeployment()
    fake.url = await serve(fake.handle)
    return fake
