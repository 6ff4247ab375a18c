"""`runstead race`: many callers end the same run at the same moment, with different outcomes. Exactly one must win."""

import asyncio
import secrets
import time
from typing import Any
from urllib.parse import quote

import msgspec

from runstead.bench.connection import Connection, DroppedError, Target
from runstead.bench.deployment import (
    BenchError,
    Worker,
    ask,
    detail_of,
    find_project_id,
    register_worker,
    targets_of,
)
from runstead.bench.event_loop import run
from runstead.bench.race_report import RaceReport, Violation
from runstead.bench.rendering import now
from runstead.bench.verdict import CALLS, Answer, Json, Observation, Reading, judge, marker

# The longest lease: one that expired during the race would change the run too.
LEASE_S = 300
EVENTS_BEFORE = 3
EVENTS_PAGE = 500


class RaceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `run_race`.

    `callers` race for each of `runs` runs, each over its own connection. `urls` are replicas of one deployment; callers
    are spread over them.
    """

    urls: tuple[str, ...]
    key: str
    project: str
    runs: int = 50
    callers: int = 32


class _Created(msgspec.Struct):
    run: dict[str, Any]


class _Claim(msgspec.Struct):
    run: dict[str, Any] | None


class _PageInfo(msgspec.Struct):
    next: str | None


class _Events(msgspec.Struct):
    data: list[dict[str, Any]]
    page_info: _PageInfo


def run_race(options: RaceOptions) -> RaceReport:
    """Race and check the result. Raise BenchError where the race cannot start. Call it without a running event loop."""
    return run(race(options))


async def race(options: RaceOptions) -> RaceReport:
    """As `run_race`, for callers that have an event loop."""
    if options.runs < 1 or options.callers < 2:
        raise BenchError("a race takes at least 1 run and 2 callers")
    setup = _Race(targets_of(options.urls), options)
    try:
        return await setup.run()
    finally:
        setup.close()


class _Race:
    def __init__(self, targets: list[Target], options: RaceOptions) -> None:
        self._options = options
        self._headers = targets[0].headers(options.key)
        self._control = Connection(targets[0])
        # The later reads use another replica, where there is one.
        self._reader = self._control if len(targets) == 1 else Connection(targets[-1])
        self._racers = [Connection(targets[caller % len(targets)]) for caller in range(options.callers)]
        # Each run has its own target, so that a claim returns no other run.
        self._name = f"task:race-{secrets.token_hex(4)}"

    async def run(self) -> RaceReport:
        options = self._options
        started_at = now()
        began = time.perf_counter()
        project_id = await find_project_id(self._control, options.project, self._headers)
        worker = await register_worker(self._control, options.project, self._headers, kind="race")
        raced: list[tuple[str, str, list[Answer], Reading]] = []
        for index in range(options.runs):
            run_id = await self._create(project_id, index)
            # Every second run is running and has events. The others are pending.
            started_as = "running" if index % 2 else "pending"
            if started_as == "running":
                await self._start(worker, run_id, index)
            answers = await self._release(run_id, index)
            raced.append((run_id, started_as, answers, await self._read(self._control, run_id)))
        observations = [
            Observation(
                run_id=run_id,
                started_as=started_as,
                answers=answers,
                reading=reading,
                later=await self._read(self._reader, run_id),
            )
            for run_id, started_as, answers, reading in raced
        ]
        violations = [
            Violation(run_id=each.run_id, started_as=each.started_as, disagreements=disagreements)
            for each in observations
            if (disagreements := judge(each))
        ]
        return RaceReport(
            url=", ".join(options.urls),
            started_at=started_at,
            seconds=round(time.perf_counter() - began, 2),
            runs=options.runs,
            callers=options.callers,
            winners=_winners(observations),
            violations=violations,
        )

    def close(self) -> None:
        for connection in (self._control, self._reader, *self._racers):
            connection.close()

    async def _create(self, project_id: str, index: int) -> str:
        body = {
            "kind": "task",
            "owner": {"kind": "project", "id": project_id},
            "request": {"name": "race", "target": f"{self._name}-{index}"},
        }
        created = await ask(self._control, "POST", "/runs", body, self._headers, status=202, answer=_Created)
        return str(created.run["run_id"])

    async def _start(self, worker: Worker, run_id: str, index: int) -> None:
        body = {"lease_duration_seconds": LEASE_S, "kinds": ["task"], "targets": [f"{self._name}-{index}"]}
        claim = await ask(
            self._control, "POST", worker.claim_path, body, worker.headers, status=200, answer=_Claim
        )
        if claim.run is None or claim.run.get("run_id") != run_id:
            raise BenchError(f"a claim for {self._name}-{index} did not give its only run {run_id}")
        events = [{"type": "CUSTOM", "name": "progress", "value": step} for step in range(EVENTS_BEFORE)]
        path = f"/runs/{quote(run_id, safe='')}/events"
        await ask(
            self._control, "POST", path, {"events": events}, self._headers, status=200, answer=dict[str, Any]
        )

    async def _release(self, run_id: str, index: int) -> list[Answer]:
        """Start all callers at once, over open connections. The order of the calls changes from run to run."""
        await asyncio.gather(*(connection.open() for connection in self._racers))
        start = asyncio.Event()
        callers = [
            asyncio.create_task(
                self._call(start, connection, run_id, caller, CALLS[(caller + index) % len(CALLS)])
            )
            for caller, connection in enumerate(self._racers)
        ]
        # After one turn of the loop every caller waits for the start.
        await asyncio.sleep(0)
        start.set()
        return await asyncio.gather(*callers)

    async def _call(
        self, start: asyncio.Event, connection: Connection, run_id: str, caller: int, call: str
    ) -> Answer:
        verb = "cancel" if call == "cancel" else "complete"
        path = f"/runs/{quote(run_id, safe='')}/{verb}"
        body = _body(call, marker(run_id, caller))
        headers = connection.target.headers(self._options.key)
        await start.wait()
        try:
            status, content = await connection.request("POST", path, body, headers)
        except DroppedError as error:
            return Answer(caller=caller, call=call, status=0, detail=str(error))
        return _answer(caller, call, status, content)

    async def _read(self, connection: Connection, run_id: str) -> Reading:
        path = f"/runs/{quote(run_id, safe='')}"
        headers = connection.target.headers(self._options.key)
        run = await ask(connection, "GET", path, None, headers, status=200, answer=dict[str, Any])
        events: list[Json] = []
        after: str | None = "0"
        while after is not None:
            page_path = f"{path}/events?after_event_id={quote(after, safe='')}&limit={EVENTS_PAGE}"
            page = await ask(connection, "GET", page_path, None, headers, status=200, answer=_Events)
            events += page.data
            after = page.page_info.next if page.data else None
        return Reading(run=run, events=events)


def _body(call: str, marker_text: str) -> bytes:
    """Return the body of a call. A completion writes its caller's marker, so that the final run shows the winner."""
    if call == "complete(completed)":
        usage = {"provider": "race", "providerRequestId": marker_text, "usageCaptureStatus": "complete"}
        return msgspec.json.encode({"status": "completed", "metadata": usage})
    if call == "complete(failed)":
        return msgspec.json.encode(
            {"status": "failed", "terminal_error_code": "RACED", "terminal_error_message": marker_text}
        )
    return b""


def _answer(caller: int, call: str, status: int, content: bytes) -> Answer:
    if status != 200:
        return Answer(caller=caller, call=call, status=status, detail=detail_of(content))
    try:
        decoded = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        return Answer(caller=caller, call=call, status=status, detail=f"not an object: {error}")
    won, run = decoded.get("cancelled" if call == "cancel" else "completed"), decoded.get("run")
    if not isinstance(won, bool) or not isinstance(run, dict):
        return Answer(caller=caller, call=call, status=status, detail=detail_of(content))
    return Answer(caller=caller, call=call, status=status, won=won, run=run)


def _winners(observations: list[Observation]) -> dict[str, int]:
    """Count the runs by final status: always the three outcomes, and other statuses that occurred."""
    winners = {"completed": 0, "failed": 0, "cancelled": 0}
    for each in observations:
        status = str(each.reading.run.get("status"))
        winners[status] = winners.get(status, 0) + 1
    return winners
