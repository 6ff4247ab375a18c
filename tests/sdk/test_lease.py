"""A job whose run is superseded or cancelled, or whose server is unavailable."""

import asyncio

import httpx2
import pytest

from runstead.sdk import AsyncClient, LeaseLostError, Retries
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.transport.httpx_transport import HttpxTransport
from runstead.sdk.worker.job import Job
from runstead.sdk.worker.lease_renewal import Renewals


class Harness:
    def __init__(self, kit, handler):
        self.server, self.time, self.settle, self.problem = (
            kit.FakeServer(),
            kit.ManualTime(),
            kit.settle,
            kit.problem,
        )
        self.client = AsyncClient(
            "http://server",
            "original",
            transport=httpx2.MockTransport(self.server),
            retries=Retries(times=0),
            sleep=self.time.sleep,
        )
        self.server.add("a")
        self.released = []
        run = ClaimedRun(run_id="a", status="running", attempt=1, lease_token="lease-a-1")
        self.job = Job(
            run,
            handler,
            self.client,
            self._release,
            Renewals(self.client, 30, self.time.clock, self.time.sleep),
            Retries(jitter=lambda: 1.0),
            self.time.sleep,
            lambda _: None,
        )
        self.working = asyncio.ensure_future(self.job.work())

    async def _release(self, _run, why):
        self.released.append(why)

    def supersede(self):
        self.server.runs["a"].update(attempt=2, token="lease-a-2")

    def cancel(self):
        self.server.runs["a"]["status"] = "cancelled"


@pytest.fixture
def log():
    return []


@pytest.fixture
def patient(log):
    """A handler that runs without end and records how it ends."""

    async def handler(run, ctx):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    return handler


async def test_the_lease_is_renewed_at_a_third_of_its_length(kit, patient):
    b = Harness(kit, patient)
    await b.time.advance(95)
    assert len(b.server.heartbeats) == 9
    b.job.release_now()
    await b.working


async def test_a_superseded_attempt_is_cancelled_and_completes_nothing(kit, patient, log):
    b = Harness(kit, patient)
    b.supersede()
    await b.time.advance(10)
    assert b.working.done()
    assert log == ["cancelled"]
    assert (b.server.completions, b.released) == ([], [])


async def test_the_handler_of_a_cancelled_run_is_cancelled_and_its_stop_is_reported(kit, patient, log):
    b = Harness(kit, patient)
    b.cancel()
    await b.time.advance(10)
    assert b.working.done()
    assert log == ["cancelled"]
    assert b.server.completions == [("a", {"status": "cancelled", "attempt": 1})]
    assert b.released == []


@pytest.mark.parametrize(
    "run", [None, {"run_id": "a", "status": "pending"}, {"run_id": "a", "status": "failed"}]
)
async def test_a_renewal_that_answers_without_a_lease_means_the_same(kit, patient, log, run):
    b = Harness(kit, patient)
    b.server.fail = lambda name: httpx2.Response(200, json={"run": run}) if "heartbeats" in name else None
    await b.time.advance(10)
    assert b.working.done()
    assert log == ["cancelled"]


async def test_an_append_that_finds_the_run_cancelled_ends_the_handler(kit, log):
    async def handler(run, ctx):
        try:
            await ctx.emit({"type": "CUSTOM"})
            await ctx.flush()
        except (LeaseLostError, asyncio.CancelledError):
            log.append(ctx.cancelled)
            raise

    b = Harness(kit, handler)
    b.cancel()
    await b.settle()
    assert b.working.done()
    assert log == [True]
    assert b.server.completions == [("a", {"status": "cancelled", "attempt": 1})]


async def test_a_handler_that_catches_the_loss_still_completes_nothing(kit):
    async def handler(run, ctx):
        try:
            await ctx.emit({"type": "CUSTOM"})
        except LeaseLostError:
            return "done all the same"

    b = Harness(kit, handler)
    b.supersede()
    await b.settle()
    assert b.working.done()
    assert b.server.completions == []


async def test_a_lease_that_cannot_be_renewed_in_time_is_lost_by_the_clock(kit, patient, log):
    b = Harness(kit, patient)
    b.server.fail = lambda _name: b.problem(503, "STORE_UNAVAILABLE")
    await b.time.advance(29)
    assert log == []
    await b.time.advance(1)
    assert log == ["cancelled"]
    await b.working
    assert b.server.completions == []


async def test_a_renewal_that_hangs_loses_the_lease_by_the_clock_too(kit, patient, log):
    b = Harness(kit, patient)

    async def hang(request):
        await asyncio.Event().wait()

    transport = httpx2.MockTransport(hang)
    b.client._transport = HttpxTransport(httpx2.AsyncClient(transport=transport), "http://server")
    await b.time.advance(29)
    assert log == []
    await b.time.advance(1)
    assert log == ["cancelled"]
    b.working.cancel()


async def test_a_short_outage_loses_no_lease(kit, patient, log):
    b = Harness(kit, patient)
    b.server.fail = lambda _name: b.problem(503, "SHUTTING_DOWN")
    await b.time.advance(25)
    b.server.fail = lambda _name: None
    await b.time.advance(60)
    assert log == []
    assert len(b.server.heartbeats) >= 6
    b.job.release_now()
    await b.working


async def test_events_and_the_completion_outlast_an_outage_with_the_same_idempotency_key(kit):
    async def handler(run, ctx):
        await ctx.emit({"type": "CUSTOM"})
        return 1

    b = Harness(kit, handler)
    b.server.fail = lambda name: None if "heartbeats" in name else b.problem(503, "SHUTTING_DOWN")
    await b.time.advance(12)
    b.server.fail = lambda _name: None
    await b.time.advance(10)
    await b.working
    keys = [headers["idempotency-key"] for name, headers, _ in b.server.seen if name.endswith("/events")]
    assert len(keys) > 3
    assert len(set(keys)) == 1
    assert len(b.server.events) == 1
    assert b.server.runs["a"]["status"] == "completed"


async def test_a_finished_run_is_completed_after_an_outage_that_outlasts_the_lease_unless_it_was_taken(kit):
    async def handler(run, ctx):
        return 1

    for taken in (False, True):
        b = Harness(kit, handler)
        b.server.fail = lambda _name: b.problem(503, "SHUTTING_DOWN")  # noqa: B023 - called within the turn
        await b.time.advance(100)
        assert not b.working.done()
        if taken:
            b.supersede()
        b.server.fail = lambda _name: None
        await b.time.advance(20)
        await b.working
        assert len(b.server.completions) == (0 if taken else 1)
        assert b.released == []


async def test_a_job_that_is_told_to_release_cancels_its_handler_and_releases_its_run(kit, patient, log):
    b = Harness(kit, patient)
    await b.settle()
    b.job.release_now()
    await b.settle()
    assert b.working.done()
    assert (log, b.released) == (["cancelled"], ["The worker stopped before the run was done"])


async def test_a_handler_in_a_thread_sees_that_it_was_cancelled_and_keeps_its_slot_until_it_ends(kit):
    entered, seen = asyncio.Event(), []

    def handler(run, ctx):
        loop.call_soon_threadsafe(entered.set)
        while not ctx.cancelled:
            pass
        seen.append(b.working.done())

    loop = asyncio.get_running_loop()
    b = Harness(kit, handler)
    await entered.wait()
    b.cancel()
    await b.time.advance(10)
    await b.working
    assert seen == [False]
    assert b.server.completions == [("a", {"status": "cancelled", "attempt": 1})]
