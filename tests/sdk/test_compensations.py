"""`ctx.compensate` and `on_cancel`: what a run registers runs when it fails or is cancelled, with a real server."""

import random
from typing import Any

import pytest

from runstead import App, Context, RunFailed
from runstead.sdk.codecs import Compression
from runstead.sdk.durable.thread_context import ThreadContext
from runstead.testing import BlockingTestbed, Testbed


def booking(calls: list[Any], *, fails: bool = False) -> App:
    app = App()

    @app.task("refund")
    async def refund(charge: str) -> None:
        calls.append(("refund", charge))

    @app.task("release")
    def release(ctx: ThreadContext, config: dict[str, Any]) -> None:
        calls.append(("release", config["seat"], ctx.run.compensates))
        if config["seat"] == "broken":
            raise RunFailed("no such seat")

    @app.workflow("trip", retries=1)
    async def trip(ctx: Context, seat: str) -> str:
        await ctx.compensate(refund, charge="ch-1")
        charge = await ctx.step("charge", lambda: "ch-1")
        await ctx.compensate("task:release", config={"seat": seat}, title=f"Release {seat}")
        calls.append("try")
        if fails:
            raise ValueError("fully booked")
        await ctx.wait_for_event("go")
        return charge

    return app


async def test_a_cancelled_run_is_undone_last_registered_first_each_once():
    calls: list[Any] = []
    async with Testbed(booking(calls)) as bed:
        run = await bed.run("workflow:trip", input={"seat": "1A"})
        assert (run.status, run.compensations) == ("waiting", 2)
        listed = (await bed.client.runs.compensations(run.run_id)).data
        assert [(one.number, one.target, one.title, one.run_id) for one in listed] == [
            (1, "task:refund", None, None),
            (2, "task:release", "Release 1A", None),
        ]
        run = await bed.cancel(run)
        assert calls == ["try", ("release", "1A", run.run_id), ("refund", "ch-1")]
        assert (run.compensations, run.descendants.total, run.descendants.active) == (0, 2, 0)
        children = [one async for one in bed.client.runs.iter_children(run.run_id)]
        assert [(one.target, one.status, one.compensates) for one in children] == [
            ("task:release", "completed", run.run_id),
            ("task:refund", "completed", run.run_id),
        ]
        listed = (await bed.client.runs.compensations(run.run_id)).data
        assert [one.run_id for one in listed] == [one.run_id for one in reversed(children)]


async def test_a_replay_and_a_retry_of_the_handler_register_nothing_again_and_a_failure_undoes():
    calls: list[Any] = []
    async with Testbed(booking(calls, fails=True)) as bed:
        run = await bed.run("workflow:trip", input={"seat": "broken"})
        assert (run.status, run.error.type) == ("failed", "ValueError")
        # The chain goes on after a compensation that fails.
        assert calls == ["try", "try", ("release", "broken", run.run_id), ("refund", "ch-1")]
        failed = (await bed.client.runs.compensations(run.run_id)).data[1].run_id
        retried = await bed.client.runs.retry(failed)
        await bed.settle()
        assert (retried.run.compensates, retried.run.parent_run_id) == (run.run_id, run.run_id)
        again = await bed.client.runs.retry(run.run_id)
        assert again.run.compensations == 0


async def test_a_completed_run_is_not_undone():
    calls: list[Any] = []
    async with Testbed(booking(calls)) as bed:
        run = await bed.run("workflow:trip", input={"seat": "1A"})
        await bed.signal(run, "go")
        run = await bed.result(run)
        assert (run.status, run.descendants.total, calls) == ("completed", 0, ["try", "try"])
        assert (await bed.client.runs.compensations(run.run_id)).data == []


async def test_on_cancel_reads_the_steps_that_the_run_has_finished_and_may_start_children():
    app, undone = App(), []

    @app.task("notify")
    async def notify(text: str) -> str:
        return text

    async def undo(ctx: Context, item: str) -> None:
        steps = dict(await ctx.steps_to_undo())
        child = await ctx.spawn(notify, text=f"{item}: {steps['charge']} is refunded")
        undone.append(await child.result())

    @app.workflow("order", on_cancel=undo)
    async def order(ctx: Context, item: str) -> None:
        await ctx.step("charge", lambda: "ch-7")
        await ctx.sleep(3_600)

    assert app.targets == ["task:notify", "workflow:order.on_cancel", "workflow:order"]
    async with Testbed(app) as bed:
        run = await bed.run(order, item="tea")
        run = await bed.cancel(run)
        assert undone == ["tea: ch-7 is refunded"]
        tree = [one async for one in bed.client.runs.iter_tree(run.run_id)]
        assert [(one.target, one.status) for one in tree] == [
            ("workflow:order", "cancelled"),
            ("workflow:order.on_cancel", "completed"),
            ("task:notify", "completed"),
        ]


def test_a_plain_function_registers_too_and_a_decorated_function_undoes():
    app, undone = App(), []

    @app.task("undo", retries=1)
    def undo(ctx: ThreadContext) -> None:
        undone.append(ctx.steps_to_undo())

    @app.task("work", on_cancel=undo)
    def work(ctx: ThreadContext) -> None:
        ctx.step("one", lambda: 1)
        ctx.compensate("task:undo")
        raise RunFailed("no")

    with BlockingTestbed(app) as bed:
        assert bed.run("task:work").status == "failed"
    assert undone == [[("one", 1)], [("one", 1)]]


async def test_other_targets_and_other_runs_are_refused():
    app, refused = App(), []

    @app.task("work")
    async def work(ctx: Context) -> None:
        for call in (lambda: ctx.compensate("agent:a"), ctx.steps_to_undo):
            with pytest.raises(ValueError, match=r"task or a workflow|compensates no run") as error:
                await call()
            refused.append(str(error.value))

    async with Testbed(app) as bed:
        assert (await bed.run(work)).status == "completed"
    assert len(refused) == 2


async def test_values_are_encoded_for_the_server_and_decoded_for_the_function_that_undoes():
    app, undone = App(codec=Compression()), []
    large = "x" * 600_000

    async def undo(ctx: Context, item: str) -> None:
        undone.append((item, dict(await ctx.steps_to_undo())))

    @app.task("release")
    async def release(seat: str) -> None:
        undone.append(seat)

    @app.workflow("order", on_cancel=undo)
    async def order(ctx: Context, item: str) -> None:
        await ctx.compensate(release, seat="1A")
        await ctx.step("fetch", random_text, large)
        await ctx.wait_for_event("go")

    async with Testbed(app) as bed:
        run = await bed.run(order, item="tea")
        await bed.cancel(run)
        plain, codec = bed.client.codec, None
        bed.client.codec = codec
        children = [
            one async for one in bed.client.runs.iter_children(run.run_id, fields=["input", "target"])
        ]
        bed.client.codec = plain
    assert undone == ["1A", ("tea", {"fetch": random_text(large)})]
    assert [list(child.input) for child in children] == [["$encoded"], ["$encoded"]]


def random_text(text: str) -> str:
    """A text that no codec makes small, so that an artifact holds it."""
    return random.Random(1).randbytes(len(text) // 2).hex()
