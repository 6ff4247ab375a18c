"""An open loop: lifecycles start at a given rate, whether or not the server answers.

Callers that wait for each answer slow down with the server, and then report the latency of a load that it could carry
("coordinated omission"). Here the latency of a create is counted from the time at which it was planned.
"""

import asyncio
import random
import time
from array import array
from typing import Final, Self

import msgspec

from runstead.bench.connection import Connection, DroppedError, LateError, Target
from runstead.bench.lifecycle import Plan, Request, UnexpectedAnswerError, requests
from runstead.bench.load import Connections
from runstead.bench.tally import REQUESTS

TIMEOUT_S = 10.0

# How long started lifecycles may take after the last segment.
ENDED_S = 15.0

# A request of a started lifecycle is repeated as the SDK does, so that it takes part in the load after a refusal.
RETRIES = 20

#: What was measured: a request, or the whole lifecycle.
MEASURED: Final = (*REQUESTS, "lifecycle")
LIFECYCLE: Final = len(REQUESTS)

#: How it ended. A refusal is 429 or 503.
ACCEPTED, REFUSED_503, REFUSED_429, NO_RETRY_AFTER, TIMEOUT, FAILED = range(6)


class Segment(msgspec.Struct, frozen=True):
    """Lifecycles that start within `seconds`, at `rate` per second."""

    name: str
    rate: float
    seconds: float


class Samples:
    """What was measured: when it was planned (ns since the start), how long it took, what it was, and its end."""

    def __init__(self) -> None:
        self.planned_ns: array[int] = array("q")
        self.took_ns: array[int] = array("q")
        self.what: array[int] = array("B")
        self.end: array[int] = array("B")
        self.errors: dict[tuple[str, str], int] = {}
        self.generator_cores = 0.0

    def add(self, planned_ns: int, took_ns: int, what: int, end: int) -> None:
        self.planned_ns.append(planned_ns)
        self.took_ns.append(took_ns)
        self.what.append(what)
        self.end.append(end)

    def error(self, request: str, kind: str) -> None:
        self.errors[request, kind] = self.errors.get((request, kind), 0) + 1

    def merge(self, other: Self) -> None:
        """Add the samples of another process, which started at the same time."""
        for mine, theirs in (
            (self.planned_ns, other.planned_ns),
            (self.took_ns, other.took_ns),
            (self.what, other.what),
            (self.end, other.end),
        ):
            mine.extend(theirs)
        for key, count in other.errors.items():
            self.errors[key] = self.errors.get(key, 0) + count
        self.generator_cores = round(self.generator_cores + other.generator_cores, 2)


class OpenLoop(msgspec.Struct, frozen=True):
    """The segments, one after the other from `start_ns` (perf_counter_ns); each of `processes` starts its share."""

    start_ns: int
    segments: tuple[Segment, ...]
    processes: int

    @property
    def period_s(self) -> float:
        return sum(segment.seconds for segment in self.segments)

    async def run(self, connections: Connections) -> Samples:
        """Start the lifecycles when they are planned, and wait until all have ended."""
        generator = _Generator(self.start_ns, connections)
        began_ns, began_cpu_s = time.perf_counter_ns(), time.process_time()
        segment_ns = self.start_ns
        for segment in self.segments:
            gap_ns = self.processes / segment.rate * 1e9
            for number in range(round(segment.seconds * 1e9 / gap_ns)):
                await generator.start(segment_ns + int(number * gap_ns))
            segment_ns += int(segment.seconds * 1e9)
        await generator.ended()
        samples = generator.samples
        elapsed_s = (time.perf_counter_ns() - began_ns) / 1e9
        samples.generator_cores = (time.process_time() - began_cpu_s) / elapsed_s
        return samples


class _Generator:
    """The lifecycles of one process. Each has a connection of its own while it lasts: a free one, or a new one."""

    def __init__(self, start_ns: int, connections: Connections) -> None:
        self.samples = Samples()
        self._start_ns = start_ns
        self._targets: list[tuple[Target, Plan]] = []
        self._free: list[list[Connection]] = []
        for connection, plan in connections:
            if (connection.target, plan) not in self._targets:
                self._targets.append((connection.target, plan))
                self._free.append([])
            self._free[self._targets.index((connection.target, plan))].append(connection)
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = 0

    async def start(self, planned_ns: int) -> None:
        """Start a lifecycle at this time, or at once where the time has passed."""
        early_s = (planned_ns - time.perf_counter_ns()) / 1e9
        if early_s > 0:
            await asyncio.sleep(early_s)
        elif self._started % 16 == 0:
            await asyncio.sleep(0)  # late: answers are read nevertheless
        which = self._started % len(self._targets)
        self._started += 1
        task = asyncio.ensure_future(self._lifecycle(planned_ns, which))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ended(self) -> None:
        """Wait until all lifecycles have ended. Those of a server that no longer serves are given up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ENDED_S)
        for task in [*self._tasks]:
            self.samples.error("lifecycle", "not completed in time")
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for connections in self._free:
            for connection in connections:
                connection.close()
            connections.clear()

    async def _lifecycle(self, planned_ns: int, which: int) -> None:
        (target, plan), free = self._targets[which], self._free[which]
        connection = free.pop() if free else Connection(target, timeout_s=TIMEOUT_S)
        try:
            if await self._requests(connection, plan, planned_ns):
                took_ns = connection.answered_ns - planned_ns
                self.samples.add(planned_ns - self._start_ns, took_ns, LIFECYCLE, ACCEPTED)
        finally:
            free.append(connection)

    async def _requests(self, connection: Connection, plan: Plan, planned_ns: int) -> bool:
        """Send the requests of a lifecycle. Return whether all of them succeeded."""
        lifecycle = requests(plan)
        try:
            request = next(lifecycle)
            while True:
                answer = await self._send(connection, request, planned_ns)
                if answer is None:
                    return False
                planned_ns = connection.answered_ns
                request = lifecycle.send(answer)
        except StopIteration:
            return True
        except UnexpectedAnswerError as error:
            self.samples.error(error.request, error.kind)
            return False

    async def _send(self, connection: Connection, request: Request, planned_ns: int) -> bytes | None:
        """Send a request, and again after a refusal if it is not a create. None: it did not succeed."""
        what = REQUESTS.index(request.name)
        for retries in range(RETRIES):
            try:
                status, content = await connection.request(
                    "POST", request.path, request.body, request.headers
                )
            except DroppedError as error:
                end = TIMEOUT if isinstance(error, LateError) else FAILED
                self._add(planned_ns, time.perf_counter_ns(), what, end)
                self.samples.error(request.name, "timeout" if end == TIMEOUT else str(error))
                return None
            end = _end(status, request.status, connection.head)
            self._add(planned_ns, connection.answered_ns, what, end)
            if end == ACCEPTED:
                return content
            if end == FAILED:
                self.samples.error(request.name, str(status))
                return None
            if what == 0:
                return None
            await asyncio.sleep(1 + random.random() * min(0.25 * 2**retries, 10))  # noqa: S311 - no secret
            planned_ns = time.perf_counter_ns()
        self.samples.error(request.name, "refused too often")
        return None

    def _add(self, planned_ns: int, ended_ns: int, what: int, end: int) -> None:
        self.samples.add(planned_ns - self._start_ns, ended_ns - planned_ns, what, end)


def _end(status: int, expected: int, head: bytes) -> int:
    if status == expected:
        return ACCEPTED
    if status not in {429, 503}:
        return FAILED
    if b"\r\nretry-after:" not in head.lower():
        return NO_RETRY_AFTER
    return REFUSED_503 if status == 503 else REFUSED_429
