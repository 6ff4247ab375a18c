"""The first of several waits: it is chosen once, and the others are closed in the log."""

import pytest

from runstead.sdk import App, First, WaitTimeout
from runstead.testing import Testbed

from .call_recorder import CallRecorder


async def work(handler, *, answers=None, on_changed_code="wait", **options):
    app = App(on_changed_code=on_changed_code)
    app.task("t")(handler)
    recorder = CallRecorder(app, **options)
    recorder.answers = answers or {}
    return await recorder.work()


def closed(done):
    return [event["stepName"] for event in done.events_of("STEP_FINISHED", closed=True)]


async def test_an_answer_before_the_timer_is_the_first_in_every_try():
    seen = []

    async def t(ctx):
        seen.append(await ctx.first(paid=ctx.wait_for_event("paid"), late=ctx.sleep(600)))
        await ctx.sleep(60)

    done = await work(t, answers={"paid": {"id": 1}})
    assert done.error is None
    assert seen == [First("paid", {"id": 1})] * 2
    assert closed(done) == ["sleep"]


async def test_a_timer_before_the_answer_is_the_first_and_the_event_is_closed():
    seen = []

    async def t(ctx):
        seen.append(await ctx.first(paid=ctx.wait_for_event("paid"), late=ctx.sleep(600)))
        await ctx.sleep(60)
        return "cancelled"

    done = await work(t)
    assert (done.output, seen) == ("cancelled", [("late", None)] * 2)
    assert closed(done) == ["event paid"]
    finished = done.events_of("STEP_FINISHED", stepName="first")
    assert [one["result"] for one in finished] == [{"branch": 2, "name": "late"}]


async def test_a_timeout_of_the_first_wait_is_raised():
    async def t(ctx):
        try:
            await ctx.first(paid=ctx.wait_for_event("paid", timeout_seconds=30), late=ctx.sleep(600))
        except WaitTimeout:
            return "not paid"

    assert (await work(t)).output == "not paid"


async def test_a_wait_that_is_not_the_first_does_not_go_on():
    async def remind(ctx):
        await ctx.sleep(600)
        await ctx.step("remind", lambda: pytest.fail("it is paid"))

    async def t(ctx):
        return (await ctx.first(paid=ctx.wait_for_event("paid"), reminded=remind(ctx))).name

    assert (await work(t, answers={"paid": 1})).output == "paid"


async def test_a_plain_function_waits_for_the_first_of_functions():
    def t(ctx):
        name, value = ctx.first(paid=lambda: ctx.wait_for_event("paid"), late=lambda: ctx.sleep(600))
        ctx.sleep(60)
        return [name, value]

    assert (await work(t, answers={"paid": 7})).output == ["paid", 7]


async def test_a_call_without_waits_is_refused():
    async def t(ctx):
        await ctx.first()

    assert "needs waits" in str((await work(t)).error)


async def test_code_that_now_gathers_does_not_continue_a_first():
    async def t(ctx):
        waits = {"paid": ctx.wait_for_event("paid"), "late": ctx.sleep(600)}
        if ctx.run.attempt > 1:
            return await ctx.gather(*waits.values())
        return await ctx.first(**waits)

    done = await work(t, answers={"paid": 1}, on_changed_code="fail")
    assert "'first'" in str(done.error)


app = App()


@app.task("slow")
async def slow(ctx, seconds: int) -> int:
    await ctx.sleep(seconds)
    return seconds


@app.task("events")
async def events(ctx):
    first = await ctx.first(paid=ctx.wait_for_event("paid"), refused=ctx.wait_for_event("refused"))
    await ctx.sleep(60)
    return list(first)


@app.task("both")
async def both(ctx):
    approved, paid = ctx.wait_for_approval("Skip the payment?"), ctx.wait_for_event("paid")
    return list(await ctx.first(approved=approved, paid=paid))


@app.task("children")
async def children(ctx):
    slower, faster = [await ctx.spawn(slow, seconds=seconds) for seconds in (3000, 100)]
    return list(await ctx.first(slower=slower.result(), faster=faster.result()))


async def test_the_server_accepts_an_answer_to_any_of_several_events():
    async with Testbed(app) as bed:
        run = await bed.run("task:events")
        assert not (await bed.signal(run, "other", 1)).delivered
        await bed.signal(run, "refused", "no money")
        await bed.advance(seconds=60)
        assert (await bed.result(run)).output == ["refused", "no money"]


async def test_the_server_accepts_an_approval_beside_an_event():
    async with Testbed(app) as bed:
        one, two, three = [await bed.run("task:both") for _ in range(3)]
        await bed.signal(one, "paid", 5)
        await bed.approve(two)
        await bed.client.approve(three.run_id)
        await bed.settle()
        outputs = [(await bed.result(run)).output for run in (one, two, three)]
        assert outputs == [["paid", 5], ["approved", True], ["approved", True]]


async def test_the_end_of_any_of_several_children_is_noticed_within_30_seconds():
    async with Testbed(app) as bed:
        run = await bed.run("task:children")
        await bed.advance(seconds=99)
        assert (await bed.get(run)).status == "waiting"
        await bed.advance(seconds=31)
        assert (await bed.result(run)).output == ["faster", 100]
