"""Runs whose code has changed: they wait for code that fits their log, and are shown as blocked."""

import contextlib

import pytest

from runstead.sdk import App
from runstead.testing import Testbed

from .call_recorder import CallRecorder

HERE = "tests/sdk/test_changed_code.py"


def serve(handler):
    app = App()
    app.task("t")(handler)
    return app


def line_of(handler, offset):
    """Return the line that is `offset` lines below the handler's first one."""
    return handler.__code__.co_firstlineno + offset


class Shop:
    """A handler before and after a change, and how often its steps were called."""

    def __init__(self):
        self.called = []

    def call(self, name):
        self.called.append(name)
        return name

    async def before(self, ctx):
        await ctx.step("fetch", self.call, "fetch")
        await ctx.sleep(60)
        return await ctx.step("book", self.call, "book")

    async def after(self, ctx):
        await ctx.step("fetch", self.call, "fetch")
        await ctx.step("charge", self.call, "charge")
        return await ctx.step("book", self.call, "book")

    async def begun(self):
        """Return a run of the old code, after its sleep."""
        recorder = CallRecorder(serve(self.before))
        assert await recorder.attempt() == "waiting"
        recorder.advance()
        return recorder


def blocked(recorder):
    return [event["value"] for event in recorder.events_of("CUSTOM", name="run.blocked")]


async def test_changed_code_blocks_the_run_until_fitting_code_is_back_and_every_step_runs_once():
    shop = Shop()
    recorder = await shop.begun()
    recorder.app = serve(shop.after)
    assert await recorder.attempt() == "waiting"
    line = line_of(Shop.after, 2)
    assert blocked(recorder) == [
        {"step_id": "2", "expected": "sleep", "found": "charge", "file": HERE, "line": line}
    ]
    assert (
        recorder.waiting["tool_name"]
        == f"blocked: step 2 is 'sleep' in the log, and 'charge' in the code ({HERE}:{line})"
    )
    assert (recorder.waiting["reason"], recorder.waiting["release"]) == ("event", True)
    recorder.advance()
    recorder.app = serve(shop.before)
    assert await recorder.attempt() == "completed"
    assert recorder.output == "book"
    assert shop.called == ["fetch", "book"]


async def test_a_blocked_run_is_tried_again_after_growing_times_and_loses_no_attempt():
    shop = Shop()
    async with Testbed(serve(shop.before)) as bed:
        run = await bed.run("task:t")
        await bed.deploy(serve(shop.after))
        await bed.advance(seconds=60)
        pauses = []
        for _ in range(8):
            run = await bed.get(run)
            assert run.status == "waiting"
            assert run.blocked.startswith("step 2 is 'sleep' in the log, and 'charge'")
            pauses.append((run.resume_at - bed.now).total_seconds())
            await bed.advance(pauses[-1])
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
        assert len([e for e in await bed.events(run) if e.payload.get("name") == "run.blocked"]) == 1
        await bed.deploy(serve(shop.before))
        await bed.advance(minutes=1)
        done = await bed.result(run)
        assert done.output == "book"
        assert {one.outcome for one in (await bed.client.runs.attempts(run.run_id)).data} == {
            "parked",
            "completed",
        }
        assert shop.called == ["fetch", "book"]


async def test_a_person_can_have_a_blocked_run_tried_at_once():
    shop = Shop()
    recorder = await shop.begun()
    recorder.app = serve(shop.after)
    assert await recorder.attempt() == "waiting"
    recorder.resume("event")
    assert await recorder.attempt() == "waiting"
    recorder.resume("event")
    recorder.app = serve(shop.before)
    assert await recorder.attempt() == "completed"


async def test_a_handler_that_catches_every_exception_is_blocked_and_has_no_more_effects():
    shop = Shop()

    async def careless(ctx):
        for name in ("load", "charge"):
            with contextlib.suppress(Exception):
                await ctx.step(name, shop.call, name)
        return "done"

    recorder = await shop.begun()
    recorder.app = serve(careless)
    assert await recorder.attempt() == "waiting"
    assert [value["found"] for value in blocked(recorder)] == ["load"]
    assert shop.called == ["fetch"]


async def test_a_plain_function_names_the_line_of_its_call():
    def before(ctx):
        ctx.step("fetch", lambda: 1)
        ctx.sleep(60)

    def after(ctx):
        ctx.step("load", lambda: 1)

    recorder = CallRecorder(serve(before))
    await recorder.attempt()
    recorder.advance()
    recorder.app = serve(after)
    assert await recorder.attempt() == "waiting"
    assert (blocked(recorder)[0]["file"], blocked(recorder)[0]["line"]) == (HERE, line_of(after, 1))


async def test_code_that_ends_before_a_stored_step_names_its_definition():
    async def before(ctx):
        await ctx.sleep(60)

    async def after(ctx):
        return 1

    recorder = CallRecorder(serve(before))
    await recorder.attempt()
    recorder.advance()
    recorder.app = serve(after)
    assert await recorder.attempt() == "waiting"
    assert blocked(recorder) == [
        {"step_id": "1", "expected": "sleep", "found": None, "file": HERE, "line": line_of(after, 0)}
    ]


async def test_a_blocked_branch_of_a_gather_is_shown_and_the_other_branches_finish_their_steps():
    shop = Shop()

    def both(name):
        async def branch(ctx):
            await ctx.step(name, shop.call, name)
            await ctx.sleep(60)

        async def ask(ctx):
            await ctx.wait_for_approval("Pay?")

        async def t(ctx):
            await ctx.gather(ask(ctx), branch(ctx), ctx.step("other", shop.call, "other"))

        return t

    recorder = CallRecorder(serve(both("fetch")))
    recorder.answers = {"Pay?": True}
    await recorder.attempt()
    recorder.resume("timer", receipt=False)
    recorder.app = serve(both("load"))
    assert await recorder.attempt() == "waiting"
    assert recorder.waiting["tool_name"].startswith("blocked: step 1.2.1 is 'fetch' in the log, and 'load'")
    recorder.advance()
    recorder.app = serve(both("fetch"))
    await recorder.work()
    assert recorder.outcome == "completed"
    assert sorted(shop.called) == ["fetch", "other"]


def test_an_app_refuses_another_reaction_to_changed_code():
    with pytest.raises(ValueError, match='on_changed_code is "wait" or "fail", not \'retry\''):
        App(on_changed_code="retry")
