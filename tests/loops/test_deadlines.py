"""After an outage, passed deadlines are enforced in bounded ticks, and the runs return spread over time."""

import asyncio
import math

import pytest

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.runs import transitions
from runstead.core.runs.run import Run, RunStatus
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.sqlite.store import SqliteStore
from runstead.loops.deadlines import enforce_deadlines
from runstead.loops.loop import Loop, every
from runstead.ports.store import ClaimRequest, RunKey, RunQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
RUNS, PER_TICK = 100, 16


def create(run_id):
    defaults = {"kind": "task", "status": RunStatus.PENDING, "owner_kind": "project", "owner_id": PROJECT}
    defaults |= {"root_run_id": run_id, "uid": run_id, "created_at": 0, "updated_at": 0}
    new = Run(project_id=PROJECT, run_id=run_id, **defaults)
    return lambda to: transitions.create(new, now=to.now, parent=None, family_cancelled=False, message=None)


async def lose(store, clock):
    """Create runs whose leases expired one after the other an hour ago, while no server ran."""

    def claim(run, now):
        number = int(run.run_id.removeprefix("run-"))
        return transitions.claim(run, now=now, worker="gone", lease_ms=5_000 + number, token=run.run_id)

    for n in range(RUNS):
        await store.runs.apply(RunKey(PROJECT, f"run-{n:03}"), create(f"run-{n:03}"))
    await store.runs.claim(ClaimRequest(PROJECT, kinds=("task",), limit=RUNS), claim)
    clock.advance(3_600)


@pytest.fixture(autouse=True)
def small_ticks(monkeypatch):
    monkeypatch.setattr(limits, "deadlines_per_tick_max", PER_TICK)


@pytest.fixture
async def lost(store, clock):
    await lose(store, clock)


async def rows(store):
    found = (await store.runs.page(RunQuery((PROJECT,), limit=RUNS))).rows
    return sorted(found, key=lambda run: run.run_id)


async def test_a_backlog_is_processed_in_bounded_ticks_earliest_first(lost, app, store):
    for done in range(0, RUNS, PER_TICK):
        assert [run.status for run in (await rows(store))[:done]] == [RunStatus.PENDING] * done
        assert await enforce_deadlines(app) == min(PER_TICK, RUNS - done)
    assert await enforce_deadlines(app) == 0


async def test_an_outage_of_an_hour_costs_each_run_one_attempt(lost, app, store):
    while await enforce_deadlines(app):
        pass
    assert {(run.status, run.attempt, run.attempts_lost) for run in await rows(store)} == {
        (RunStatus.PENDING, 1, 1)
    }


async def test_runs_that_lost_their_leases_together_do_not_return_together(lost, app, store, clock):
    while await enforce_deadlines(app):
        pass
    waits = sorted(run.available_at - clock.now for run in await rows(store))
    assert limits.backoff_ms_first / 2 <= waits[0] <= waits[-1] <= limits.backoff_ms_first
    # Spread over the whole range: no quarter of it has half of the runs.
    quarter = limits.backoff_ms_first / 8
    for n in range(4):
        begin = limits.backoff_ms_first / 2 + n * quarter
        assert sum(begin <= wait < begin + quarter for wait in waits) < RUNS / 2


async def test_a_write_during_a_backlog_waits_for_one_tick_and_not_for_all(tmp_path, clock):
    store = SqliteStore(tmp_path / "a.db", clock, synchronous="OFF")
    await store.open()
    await lose(store, clock)
    app = App(store, LocalNotifier())
    app.leader_state.hold(1, math.inf)
    ticks, waited = 0, []

    async def counted():
        nonlocal ticks
        found = await enforce_deadlines(app)
        ticks += 1
        return found

    running = asyncio.ensure_future(every(app, Loop("deadlines", 3_600, counted, rows_max=PER_TICK)))
    while ticks <= RUNS // PER_TICK:
        before, run_id = ticks, f"new-{len(waited)}"
        await store.runs.apply(RunKey(PROJECT, run_id), create(run_id))
        waited.append(ticks - before)
    assert max(waited) <= 2  # the active tick, and one that was queued before
    app.stop()
    await running
    await store.close()
