"""The event bus in handlers."""

from runstead.sdk import App, Context, ThreadContext, WaitTimeout
from runstead.testing import BlockingTestbed, Testbed

app = App()


@app.workflow("order")
async def order(ctx: Context, order: int):
    try:
        return (await ctx.wait_for_event("paid", match={"order.id": order}, timeout_seconds=60))["euros"]
    except WaitTimeout:
        return None


@app.workflow("two")
async def two(ctx: Context):
    return await ctx.gather(
        ctx.wait_for_event("paid", match={"order.id": 1}), ctx.wait_for_event("paid", match={"order.id": 2})
    )


@app.workflow("in-a-thread")
def in_a_thread(ctx: ThreadContext):
    return ctx.wait_for_event("paid", match={"order.id": 1})


async def test_an_event_resumes_the_runs_whose_match_fits():
    async with Testbed(app) as bed:
        first, second, third = [await bed.run(order, order=number) for number in (1, 2, 3)]
        published = await bed.publish("paid", {"order": {"id": 1}, "euros": 12}, id="e-1")
        assert (published.event_id, published.resumed) == ("e-1", 1)
        assert (await bed.result(first)).output == 12
        assert (await bed.get(second)).status == "waiting"
        # A signal is sent to the run itself, so no match is compared.
        await bed.signal(second, "paid", {"euros": 7})
        assert (await bed.result(second)).output == 7
        await bed.advance(60)
        assert (await bed.result(third)).output is None
        asked = (await bed.events(second))[1].payload["value"]
        assert asked["match"] == {"order.id": 2}


async def test_branches_wait_for_events_of_one_name_with_their_own_match():
    async with Testbed(app) as bed:
        run = await bed.run(two)
        await bed.publish("paid", {"order": {"id": 2}})
        assert (await bed.get(run)).status == "waiting"
        await bed.publish("paid", {"order": {"id": 1}})
        assert (await bed.result(run)).output == [{"order": {"id": 1}}, {"order": {"id": 2}}]


def test_a_handler_in_a_thread_waits_for_an_event():
    with BlockingTestbed(app) as bed:
        run = bed.run(in_a_thread)
        assert bed.publish("paid", {"order": {"id": 1}}).resumed == 1
        assert bed.result(run).output == {"order": {"id": 1}}
