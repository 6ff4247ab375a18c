"""One lifecycle of a run is four requests: create a task run, claim it, append ten events, complete it."""

import asyncio
import time
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from runstead.bench.connection import Connection, DroppedError
from runstead.bench.deployment import Worker, detail_of
from runstead.bench.tally import HEALTHZ, Tally

T = TypeVar("T")

TARGET = "task:bench"
EVENTS = 10
EVENT_BYTES = 200
LEASE_S = 60

# The pause after an error, so that the result does not consist of error answers.
ERROR_PAUSE_S = 0.05


class Plan(msgspec.Struct, frozen=True):
    """The requests that every caller sends, built once. It is picklable for the load processes."""

    key_headers: bytes
    worker: Worker
    create_body: bytes
    claim_body: bytes
    events: bytes

    @classmethod
    def build(cls, *, key_headers: bytes, worker: Worker, project_id: str) -> "Plan":
        encode = msgspec.json.encode
        return cls(
            key_headers=key_headers,
            worker=worker,
            create_body=encode(
                {
                    "kind": "task",
                    "owner": {"kind": "project", "id": project_id},
                    "request": {"name": "bench", "target": TARGET, "config": {"events": EVENTS}},
                }
            ),
            # It waits, as workers do: other callers may lock the runs that a claim found, and the runs that they created
            # meanwhile are not part of what it found.
            claim_body=encode(
                {"lease_duration_seconds": LEASE_S, "kinds": ["task"], "targets": [TARGET], "wait_seconds": 1}
            ),
            events=encode([progress_event(step) for step in range(EVENTS)]),
        )


class _Claimed(msgspec.Struct):
    run_id: str
    attempt: int | None = None
    lease_token: str | None = None


class _Claim(msgspec.Struct):
    run: _Claimed | None
    attempt: int | None = None
    lease_token: str | None = None


class _Appended(msgspec.Struct):
    appended_count: int


class _Completed(msgspec.Struct):
    completed: bool


class Request(NamedTuple):
    """A request of the lifecycle, and the status of its answer where it succeeds."""

    name: str
    status: int
    path: str
    body: bytes
    headers: bytes


class UnexpectedAnswerError(Exception):
    """The answer to `request` is of this kind: `no run`, `wrong count`, `lost`, `unexpected answer`."""

    def __init__(self, request: str, kind: str, sample: str) -> None:
        super().__init__(sample)
        self.request = request
        self.kind = kind


class _FailedError(Exception):
    """The lifecycle failed. The error is recorded in the tally."""


_decode_claim = msgspec.json.Decoder(_Claim).decode
_decode_appended = msgspec.json.Decoder(_Appended).decode
_decode_completed = msgspec.json.Decoder(_Completed).decode

_USAGE = msgspec.json.encode(
    {
        "provider": "bench",
        "model": "bench-1",
        "finishReason": "stop",
        "inputTokens": 1200,
        "outputTokens": 340,
        "usageCaptureStatus": "complete",
    }
)


def progress_event(step: int) -> dict[str, object]:
    """Return a custom event whose compact JSON has EVENT_BYTES bytes."""
    value = {"step": step, "note": ""}
    event: dict[str, object] = {"type": "CUSTOM", "name": "progress", "value": value}
    value["note"] = "." * (EVENT_BYTES - len(msgspec.json.encode(event)))
    return event


def requests(plan: Plan) -> Generator[Request, bytes, None]:
    """Yield the requests of a lifecycle, and receive the body of each answer. Raise UnexpectedAnswerError."""
    yield Request("create", 202, "/runs", plan.create_body, plan.key_headers)
    answer = yield Request("claim", 200, plan.worker.claim_path, plan.claim_body, plan.worker.headers)
    claim = _decoded("claim", _decode_claim, answer)
    if claim.run is None:
        raise UnexpectedAnswerError("claim", "no run", "no run was claimable, though one was just created")
    # It may be another caller's run: claims take the oldest.
    path = f"/runs/{quote(claim.run.run_id, safe='')}"
    token = claim.run.lease_token or claim.lease_token
    attempt = claim.run.attempt or claim.attempt
    fence = b'"attempt":%d,' % attempt if attempt is not None else b""
    headers = plan.key_headers
    if token is not None:
        headers += b"X-Lease-Token: %b\r\n" % token.encode("latin-1")
    body = b'{%b"events":%b}' % (b"" if token is not None else fence, plan.events)
    answer = yield Request("append", 200, f"{path}/events", body, headers)
    count = _decoded("append", _decode_appended, answer).appended_count
    if count != EVENTS:
        raise UnexpectedAnswerError("append", "wrong count", f"{count} of {EVENTS} events were stored")
    body = b'{%b"status":"completed","metadata":%b}' % (fence, _USAGE)
    answer = yield Request("complete", 200, f"{path}/complete", body, plan.key_headers)
    if not _decoded("complete", _decode_completed, answer).completed:
        raise UnexpectedAnswerError("complete", "lost", detail_of(answer))


def _decoded(request: str, decode: Callable[[bytes], T], content: bytes) -> T:
    try:
        return decode(content)
    except msgspec.DecodeError as error:
        sample = f"{error}: {detail_of(content)}"
        raise UnexpectedAnswerError(request, "unexpected answer", sample) from error


class Caller:
    """One concurrent caller with its own connection. It works until the tally's window has ended."""

    def __init__(self, connection: Connection, plan: Plan, tally: Tally) -> None:
        self._connection = connection
        self._plan = plan
        self._tally = tally
        self._answered_ns = 0

    async def run_lifecycles(self) -> None:
        """Run lifecycles. The last one is completed after the end of the window, so that no open run is left."""
        while self._answered_ns < self._tally.end_ns:
            try:
                await self._lifecycle()
            except _FailedError:
                await self._pause()
            else:
                self._tally.lifecycle(self._answered_ns)

    async def run_health_checks(self) -> None:
        health = Request(HEALTHZ, 200, "/healthz", b"", self._plan.key_headers)
        while self._answered_ns < self._tally.end_ns:
            try:
                await self._ask(health, method="GET")
            except _FailedError:
                await self._pause()

    async def _lifecycle(self) -> None:
        lifecycle = requests(self._plan)
        try:
            request = next(lifecycle)
            while True:
                answer = await self._ask(request)
                request = lifecycle.send(answer)
        except UnexpectedAnswerError as error:
            raise self._failed(error.request, error.kind, str(error)) from error
        except StopIteration:
            return

    async def _ask(self, request: Request, *, method: str = "POST") -> bytes:
        name, expected, path, body, headers = request
        connection = self._connection
        try:
            status, content = await connection.request(method, path, body, headers)
        except DroppedError as error:
            raise self._failed(name, "dropped", str(error)) from error
        if status != expected:
            raise self._failed(name, str(status), detail_of(content))
        self._answered_ns = connection.answered_ns
        self._tally.answered(name, connection.answered_ns, connection.elapsed_ns)
        return content

    def _failed(self, request: str, kind: str, sample: str) -> _FailedError:
        self._tally.error(request, kind, sample)
        return _FailedError(kind)

    async def _pause(self) -> None:
        await asyncio.sleep(ERROR_PAUSE_S)
        # A caller that gets only errors must also end with the window.
        self._answered_ns = time.perf_counter_ns()
