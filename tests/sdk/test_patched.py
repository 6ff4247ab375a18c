"""`ctx.patched`: runs that had passed a place keep the old code there, all others take the new code."""

import pytest

from runstead.sdk import App
from runstead.testing import Testbed

from .call_recorder import CallRecorder


def serve(handler):
    app = App()
    app.task("t", retries=1)(handler)
    return app


class Shop:
    """A handler before and after a change, and the steps that were called."""

    def __init__(self):
        self.called = []
        self.failing = False

    async def step(self, ctx, name):
        def call():
            if self.failing and name == "ship":
                raise ValueError("no ship")
            self.called.append(name)

        await ctx.step(name, call)

    async def before(self, ctx):
        await self.step(ctx, "reserve")
        await self.step(ctx, "charge")
        await ctx.sleep(60)
        await self.step(ctx, "ship")

    async def after(self, ctx):
        await self.step(ctx, "reserve")
        if ctx.patched("check"):
            await self.step(ctx, "check")
        await self.step(ctx, "charge")
        await ctx.sleep(60)
        if ctx.patched("letter"):
            await self.step(ctx, "letter")
        await self.step(ctx, "ship")
        if ctx.patched("check"):
            await self.step(ctx, "report")


def markers(recorder):
    return [event["value"]["id"] for event in recorder.events_of("CUSTOM", name="run.patched")]


async def test_a_new_run_takes_the_new_code_in_every_try():
    shop = Shop()
    recorder = CallRecorder(serve(shop.after))
    assert (await recorder.work()).outcome == "completed"
    assert shop.called == ["reserve", "check", "charge", "letter", "ship", "report"]
    assert markers(recorder) == ["check", "letter"]


async def test_a_run_that_had_passed_the_place_keeps_the_old_code_there_and_takes_the_new_code_later():
    shop = Shop()
    recorder = CallRecorder(serve(shop.before))
    assert await recorder.attempt() == "waiting"
    recorder.advance()
    recorder.app = serve(shop.after)
    assert (await recorder.work()).outcome == "completed"
    # "report" goes with "check", whose answer was false; "letter" is after the sleep, where the run had not been.
    assert shop.called == ["reserve", "charge", "letter", "ship"]
    assert markers(recorder) == ["letter"]


async def test_a_run_whose_worker_died_at_the_place_takes_the_new_code():
    shop = Shop()
    # The first call that fails is that of the second step: its start is not stored.
    recorder = CallRecorder(serve(shop.before), crash=lambda number: "before" if number == 3 else None)
    assert await recorder.attempt() == "crashed"
    assert shop.called == ["reserve"]
    recorder.app = serve(shop.after)
    assert (await recorder.work()).outcome == "completed"
    assert shop.called == ["reserve", "check", "charge", "letter", "ship", "report"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_any_call_changes_no_answer(when):
    shop = Shop()
    calls = CallRecorder(serve(shop.after))
    assert (await calls.work()).outcome == "completed"
    for crash in range(1, calls.calls + 1):
        shop = Shop()
        recorder = CallRecorder(
            serve(shop.after), crash=lambda number, at=crash: when if number == at else None
        )
        assert (await recorder.work()).outcome == "completed"
        assert [*dict.fromkeys(shop.called)] == ["reserve", "check", "charge", "letter", "ship", "report"]
        assert sorted(set(markers(recorder))) == ["check", "letter"]


async def test_concurrent_branches_have_answers_of_their_own():
    called = []

    def call(name):
        called.append(name)

    def handler(*, changed):
        async def branch(ctx, number, seconds):
            await ctx.step("first", call, f"first {number}")
            if number == 2:
                await ctx.sleep(60)
            if changed and ctx.patched("more"):
                await ctx.step("more", call, f"more {number}")
            await ctx.step("last", call, f"last {number}")

        async def handle(ctx):
            await ctx.gather(branch(ctx, 1, 0), branch(ctx, 2, 60))
            if changed and ctx.patched("more"):
                await ctx.step("end", call, "end")

        return handle

    recorder = CallRecorder(serve(handler(changed=False)))
    assert await recorder.attempt() == "waiting"
    recorder.advance()
    recorder.app = serve(handler(changed=True))
    assert (await recorder.work()).outcome == "completed"
    # The first branch had passed the place, so the code after the gather is the old one too.
    assert sorted(called) == ["first 1", "first 2", "last 1", "last 2", "more 2"]


async def test_a_retry_takes_the_new_code_before_the_step_that_failed():
    shop = Shop()
    recorder = CallRecorder(serve(shop.before))
    assert await recorder.attempt() == "waiting"
    recorder.advance()
    shop.failing = True
    assert await recorder.attempt() == "waiting"
    recorder.advance()
    shop.failing = False
    recorder.app = serve(shop.after)
    assert (await recorder.work()).outcome == "completed"
    assert shop.called == ["reserve", "charge", "letter", "ship"]


async def test_a_step_asks_for_no_patch():
    async def handler(ctx):
        await ctx.step("s", lambda: ctx.patched("p"))

    recorder = CallRecorder(serve(handler))
    assert (await recorder.work()).outcome == "failed"
    assert recorder.error.code == "NESTED_STEP"


async def test_a_retry_from_a_step_keeps_the_new_code_before_it():
    app, failing = App(), [True]

    def last():
        if failing.pop():
            raise ValueError("not yet")
        failing.append(False)

    @app.task("t")
    async def handler(ctx):
        await ctx.step("first", lambda: None)
        if ctx.patched("more"):
            await ctx.step("more", lambda: None)
        await ctx.step("last", last)
        return "done"

    async with Testbed(app) as bed:
        failed = await bed.run("task:t")
        assert failed.status == "failed"
        failing.append(False)
        retried = (await bed.client.runs.retry(failed.run_id, from_step="failed")).run
        await bed.settle()
        assert (await bed.client.runs.get(retried.run_id)).output == "done"
