"""Signals in handlers: none is lost, none is taken twice, whenever it is sent."""

import pytest

from runstead.sdk import App, Context, RunsteadError, ThreadContext
from runstead.sdk.models.run import OpenEvent
from runstead.testing import Testbed

app = App()
broken = []


@app.workflow("two")
async def two(ctx: Context):
    return [await ctx.wait_for_event("paid"), await ctx.wait_for_event("paid")]


@app.workflow("chat")
async def chat(ctx: Context):
    said = []
    async for message in ctx.signals("chat"):
        if message == "bye":
            break
        said.append(await ctx.step(f"answer {message}", str.upper, message))
    return said


@app.workflow("chat-in-a-thread")
def chat_in_a_thread(ctx: ThreadContext):
    said = []
    for message in ctx.signals("chat"):
        if message == "bye":
            break
        said.append(message)
    return said


@app.workflow("broken", retries=1)
async def breaks_once(ctx: Context):
    payload = await ctx.wait_for_event("paid")
    if not broken:
        broken.append(payload)
        raise RuntimeError("the disk is full")
    return [payload, await ctx.wait_for_event("paid")]


@app.workflow("both")
async def both(ctx: Context):
    return await ctx.gather(
        ctx.wait_for_event("paid"), ctx.wait_for_event("sent"), ctx.wait_for_event("paid")
    )


@app.workflow("either")
async def either(ctx: Context):
    won = await ctx.first(
        paid=ctx.wait_for_event("paid"),
        refused=ctx.wait_for_event("refused"),
        asked=ctx.wait_for_approval("?"),
    )
    return [won.name, won.value]


@app.workflow("patient")
async def patient(ctx: Context):
    try:
        return await ctx.wait_for_event("paid", timeout_seconds=60)
    except TimeoutError:
        return ["late", await ctx.wait_for_event("paid")]


@pytest.fixture
async def bed():
    async with Testbed(app) as bed:
        yield bed


async def test_a_signal_that_was_sent_before_the_run_began_is_taken(bed):
    created = await bed.client.runs.create("workflow:two")
    first = await bed.client.runs.signal(created.run.run_id, "paid", {"euros": 1})
    assert not first.delivered
    await bed.signal(created.run, "paid", {"euros": 2})
    assert (await bed.result(created.run)).output == [{"euros": 1}, {"euros": 2}]


async def test_signals_are_taken_in_order_between_waits(bed):
    run = await bed.run("workflow:chat")
    for message in ("hello", "again"):
        assert (await bed.signal(run, "chat", message)).delivered
    assert (await bed.get(run)).status == "waiting"
    await bed.deploy(app)
    await bed.signal(run, "chat", "bye")
    assert (await bed.result(run)).output == ["HELLO", "AGAIN"]


async def test_a_plain_function_takes_signals_in_a_loop(bed):
    created = await bed.client.runs.create("workflow:chat-in-a-thread")
    for message in ("hello", "again", "bye"):
        await bed.client.runs.signal(created.run.run_id, "chat", message)
    await bed.settle()
    assert (await bed.result(created.run)).output == ["hello", "again"]


async def test_a_signal_taken_by_a_try_that_failed_is_the_same_in_the_next_one(bed):
    broken.clear()
    run = await bed.run("workflow:broken")
    await bed.signal(run, "paid", 1)
    await bed.signal(run, "paid", 2)
    assert (await bed.result(run)).output == [1, 2]
    assert broken == [1]


async def test_a_signal_taken_by_a_worker_that_was_lost_is_the_same_for_the_next_one(bed):
    created = await bed.client.runs.create("workflow:two")
    await bed.client.runs.signal(created.run.run_id, "paid", 1)
    worker = await bed.client.workers.register("python", worker_key="lost")
    claimed = await bed.client.workers.claim(
        worker.worker.id, lease_duration_seconds=60, targets=["workflow:two"]
    )
    event = OpenEvent(name="paid", tool_call_id="event:paid:1")  # the call of the handler's first wait
    answer = await bed.client.runs.wait(
        claimed.run.run_id, "event", open_events=[event], lease_token=claimed.run.lease_token
    )
    assert (answer.run.status, answer.signal.payload) == ("running", 1)
    await bed.advance(120)  # the worker is never heard of again
    await bed.signal(created.run, "paid", 2)
    ended = await bed.result(created.run)
    assert (ended.output, ended.attempt) == ([1, 2], 3)


async def test_branches_take_the_signals_that_they_wait_for_in_any_order(bed):
    run = await bed.run("workflow:both")
    for name, payload in (("sent", 1), ("paid", 2), ("paid", 3)):
        assert (await bed.signal(run, name, payload)).delivered
    assert (await bed.result(run)).output == [2, 1, 3]


@pytest.mark.parametrize(("name", "payload"), [("paid", 5), ("refused", None)])
async def test_the_first_of_several_signals_decides(bed, name, payload):
    run = await bed.run("workflow:either")
    await bed.signal(run, name, payload)
    assert (await bed.result(run)).output == [name, payload]


async def test_an_approval_among_awaited_signals_decides_too(bed):
    run = await bed.run("workflow:either")
    await bed.approve(run)
    assert (await bed.result(run)).output == ["asked", True]


async def test_a_signal_after_a_timeout_is_kept_for_the_next_wait(bed):
    run = await bed.run("workflow:patient")
    await bed.advance(61)
    assert (await bed.signal(run, "paid", 3)).delivered
    assert (await bed.result(run)).output == ["late", 3]


async def test_a_repeated_key_sends_nothing_and_another_payload_is_refused(bed):
    run = await bed.run("workflow:two")
    send = bed.client.runs.signal
    first = await send(run.run_id, "paid", 1, idempotency_key="k")
    again = await send(run.run_id, "paid", 1, idempotency_key="k")
    assert (again.signal.id, again.duplicate, again.delivered) == (first.signal.id, True, True)
    with pytest.raises(RunsteadError, match="was used for another signal"):
        await send(run.run_id, "paid", 2, idempotency_key="k")
    kept = [one async for one in bed.client.runs.iter_signals(run.run_id)]
    assert [(one.name, one.payload, one.event_id is not None) for one in kept] == [("paid", 1, True)]
