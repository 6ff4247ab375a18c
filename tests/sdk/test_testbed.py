import asyncio
import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from runstead.sdk import App, RunFailed, Step
from runstead.testing import START, BlockingTestbed, Testbed

app = App()
tries: list[datetime] = []


@app.task("sync-data")
async def sync_data(ctx, url: str) -> dict:
    rows = await ctx.step("fetch", lambda: [url, url])
    if not await ctx.wait_for_approval(f"Write {len(rows)} rows?"):
        raise RunFailed("refused", "REFUSED")
    child = await ctx.spawn("task:index", config={"rows": len(rows)})
    await ctx.sleep(3600)
    return {"rows": len(rows), "index": await child.result()}


@app.task("index")
async def index(ctx, rows: int) -> int:
    return rows * 10


@app.task("waiter")
async def waiter(ctx) -> object:
    return await ctx.wait_for_event("paid", timeout_seconds=86_400)


@app.task("flaky", retries=2)
async def flaky(ctx, failures: int) -> str:
    tries.append(ctx.now())
    if ctx.run.attempt <= failures:
        raise ValueError("not yet")
    return "done"


@app.task("naps")
async def naps(ctx) -> float:
    began = ctx.now()
    await ctx.gather(ctx.sleep(0.5), ctx.sleep(1.0))
    return (ctx.now() - began).total_seconds()


@app.task("apart", isolation="process", memory_mb=512)
async def apart(ctx) -> int:
    await ctx.sleep(3600)
    await ctx.artifact(b"a,b", name="table.csv")
    return os.getpid()


@app.task("stubborn")
async def stubborn(ctx) -> int:
    calls = []

    def fail_twice():
        calls.append(1)
        if len(calls) < 3:
            raise OSError("busy")
        return len(calls)

    return await ctx.step("try", fail_twice, options=Step(retries=5, backoff=60))


@app.agent("support")
async def support(ctx, run) -> str:
    return f"{run.agent_id} heard {len(run.request_snapshot['messages'])}"


@app.workflow("nightly")
def nightly(ctx, day: str) -> str:
    return day


async def test_a_run_is_handled_until_it_waits_and_continues_after_the_answer():
    async with Testbed(app) as bed:
        run = await bed.run("task:sync-data", config={"url": "x"})
        assert run.status == "waiting"
        await bed.approve(run)
        assert (await bed.get(run)).status == "waiting"  # now it sleeps
        await bed.advance(3599)
        assert (await bed.get(run)).status == "waiting"
        await bed.advance(1)
        assert (await bed.result(run)).output == {"rows": 2, "index": 20}
        steps = [
            event.payload["stepName"]
            for event in await bed.events(run)
            if event.event_type == "STEP_FINISHED"
        ]
        assert steps.count("fetch") == 1


async def test_a_refused_approval_fails_the_run():
    async with Testbed(app) as bed:
        run = await bed.run("task:sync-data", config={"url": "x"})
        await bed.approve(run, approved=False)
        ended = await bed.result(run)
        assert (ended.status, ended.error.code) == ("failed", "REFUSED")


async def test_a_signal_is_sent_by_its_name_and_another_is_kept():
    async with Testbed(app) as bed:
        run = await bed.run("task:waiter")
        assert not (await bed.signal(run, "shipped")).delivered
        with pytest.raises(AssertionError, match="does not wait for approval: it waits for event:paid"):
            await bed.approve(run)
        with pytest.raises(AssertionError, match="has not ended: it waits for event:paid"):
            await bed.result(run)
        assert (await bed.signal(run, "paid", {"euros": 7})).delivered
        assert (await bed.result(run)).output == {"euros": 7}


async def test_a_wait_without_an_answer_ends_at_its_timeout():
    async with Testbed(app) as bed:
        run = await bed.run("task:waiter")
        await bed.advance(86_399)
        assert (await bed.get(run)).status == "waiting"
        await bed.advance(1)
        assert (await bed.result(run)).error.code == "WAIT_TIMEOUT"


async def test_the_clock_moves_over_backoffs():
    tries.clear()
    async with Testbed(app) as bed:
        run = await bed.run("task:flaky", config={"failures": 2})
        assert run.output == "done"
        assert bed.now == START + timedelta(seconds=1 + 2)
        assert tries[0] == START


async def test_a_retried_step_takes_no_real_time():
    async with Testbed(app) as bed:
        began = time.monotonic()
        run = await bed.run("task:stubborn")
        assert (run.output, bed.now) == (3, START + timedelta(seconds=60 + 120))
        assert time.monotonic() - began < 100


async def test_short_sleeps_move_the_testbeds_clock():
    async with Testbed(app) as bed:
        assert (await bed.run("task:naps")).output == 1.0


async def test_a_handler_of_its_own_process_shares_the_testbeds_time_and_keeps_artifacts():
    async with Testbed(app) as bed:
        run = await bed.run("task:apart")
        await bed.advance(seconds=3600)
        done = await bed.result(run)
        assert done.output == os.getpid()
        assert [one["name"] for one in done.artifacts] == ["table.csv"]
        assert await bed.client.artifacts.read(done.run_id, "table.csv") == b"a,b"


async def test_agents_and_workflows_are_run_by_their_names():
    async with Testbed(app) as bed:
        message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        assert (await bed.run("agent:support", input={"messages": [message]})).output == "support heard 1"
        assert (await bed.run("workflow:nightly", input={"day": "monday"})).output == "monday"


async def test_a_run_that_the_app_does_not_serve_is_reported():
    async with Testbed(app) as bed:
        run = await bed.run("task:unknown")
        with pytest.raises(AssertionError, match=r"it is pending .does the app serve its target"):
            await bed.result(run)


async def test_a_delayed_run_begins_when_its_time_has_come():
    async with Testbed(app) as bed:
        run = await bed.run("task:index", config={"rows": 1}, available_at=bed.now + timedelta(hours=2))
        assert run.status == "pending"
        await bed.advance(7200)
        assert (await bed.result(run)).output == 10


async def test_schedules_fire_each_at_its_time():
    async with Testbed(app) as bed:
        await bed.client.schedules.create("hourly", {"kind": "task", "id": "naps"}, "0 * * * *")
        await bed.settle()
        await bed.advance(3 * 3600)
        runs = [run async for run in bed.client.runs.iter()]
        assert [run.status for run in runs] == ["completed"] * 3
        assert sorted(run.created_at for run in runs) == [START + timedelta(hours=n) for n in (1, 2, 3)]


async def test_a_run_is_cancelled_while_it_waits():
    async with Testbed(app) as bed:
        run = await bed.run("task:waiter")
        assert (await bed.cancel(run)).status == "cancelled"


async def test_time_starts_where_the_test_sets_it():
    start = datetime(2030, 2, 28, tzinfo=UTC)
    async with Testbed(app, start=start) as bed:
        run = await bed.run("task:naps")
        assert run.created_at == start


async def test_a_handler_that_does_not_end_fails_the_test_with_a_sentence():
    stuck = App()

    @stuck.task("stuck")
    async def hang(ctx):
        await asyncio.Event().wait()

    async with Testbed(stuck, real_timeout_seconds=0.05) as bed:
        with pytest.raises(AssertionError, match=r"still running after 0\.05 s"):
            await bed.run("task:stuck")


def test_plain_functions_have_a_testbed_that_blocks():
    with BlockingTestbed(app) as bed:
        run = bed.run("task:sync-data", config={"url": "x"})
        bed.approve(run)
        bed.advance(3600)
        assert bed.result(run).output == {"rows": 2, "index": 20}


def test_the_blocking_testbed_has_a_client_that_blocks_and_may_be_used_in_handlers():
    shop = App()

    @shop.task("order")
    def order(ctx, item):
        ctx.sleep(60)
        return ctx.step("stock", lambda: bed.client.runs.get(ctx.run.run_id).config)

    with BlockingTestbed(shop) as bed:
        made = bed.client.runs.create("task:order", config={"item": "tea"}).run
        assert bed.client.runs.get(made.run_id).status == "pending"
        bed.settle()
        assert bed.client.runs.get(made.run_id).status == "waiting"
        bed.advance(minutes=1)
        assert bed.client.runs.get(made.run_id).output == {"item": "tea"}
        assert [run.run_id for run in bed.client.runs.iter()] == [made.run_id]


def test_a_handle_of_a_blocking_testbed_waits_for_the_result():
    with BlockingTestbed(app) as bed:
        run = bed.client.start("task:index", config={"rows": 2})
        assert run.result() == 20
        waits = bed.client.start("task:sync-data", config={"url": "x"})
        bed.settle()
        waits.approve()
        bed.advance(hours=1)
        assert waits.result() == {"rows": 2, "index": 20}


async def test_a_handle_of_a_testbed_waits_for_the_result():
    async with Testbed(app) as bed:
        assert await (await bed.client.start("task:index", config={"rows": 2})).result() == 20


def test_a_client_of_a_testbed_follows_a_run_to_its_end():
    with BlockingTestbed(app) as bed:
        made = bed.client.runs.create("task:index", config={"rows": 2}).run
        assert [event.event_type for event in bed.client.events.follow(made.run_id)][-1] == "RUN_FINISHED"


def test_a_stream_that_does_not_end_fails_the_test_with_a_sentence():
    with BlockingTestbed(app, real_timeout_seconds=0.5) as bed:
        made = bed.client.runs.create("task:sync-data", config={"url": "x"}).run
        with pytest.raises(AssertionError, match="a test follows a run that can end without it"):
            list(bed.client.events.follow(made.run_id))


async def test_time_is_moved_by_days_hours_minutes_seconds_or_a_timedelta():
    async with Testbed(app) as bed:
        began = bed.now
        await bed.advance(1, minutes=2, hours=3, days=4)
        await bed.advance(timedelta(days=1))
        assert bed.now - began == timedelta(days=5, hours=3, minutes=2, seconds=1)
        with pytest.raises(ValueError, match="moves forward only"):
            await bed.advance(hours=-1)


async def test_a_test_takes_milliseconds_of_the_processor():
    took, control = [], []
    for _ in range(5):
        began = time.process_time()
        async with Testbed(app) as bed:
            await bed.run("task:index", config={"rows": 1})
        took.append(time.process_time() - began)
        began = time.process_time()
        for _ in range(20):
            json.loads(json.dumps(list(range(10_000))))
        control.append(time.process_time() - began)
    assert min(took) < 8 * min(control), (min(took), min(control))
