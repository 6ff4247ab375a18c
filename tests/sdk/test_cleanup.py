"""The end of a handler: `finally` and `except` write only at a real end, and a cancel lets their steps run."""

import asyncio
import contextlib
import logging
import threading

import pytest

from runstead.sdk import App, LeaseLostError, RunFailed
from runstead.sdk.durable import step_runner
from runstead.testing import BlockingTestbed, Testbed

from .test_mistakes import end_of

NOTE = {"type": "CUSTOM", "name": "note", "value": 1}


async def end_with_events(handler, **options):
    app = App()
    app.task("t", **options)(handler)
    async with Testbed(app) as bed:
        run = await bed.run("task:t")
        while run.status == "waiting":
            await bed.advance(3600)
            run = await bed.get(run)
        return run, [event.payload for event in await bed.events(run)]


# Waits


async def test_no_call_of_the_context_has_an_effect_in_a_block_that_runs_for_a_wait():
    calls = []

    async def t(ctx):
        try:
            await ctx.sleep(60)
        finally:
            calls.append(ctx.suspending)
            for write in (
                lambda: ctx.usage("p", "m", input_tokens=1),
                ctx.now,
            ):
                with contextlib.suppress(BaseException):
                    write()
                    if ctx.suspending:
                        calls.append("written")
            with contextlib.suppress(BaseException):
                await ctx.emit(NOTE)
            await ctx.progress(1.0)
            await ctx.artifact(b"a", name="a.txt")
            await ctx.step("unlock", lambda: calls.append("unlock"))

    run, events = await end_with_events(t)
    assert run.status == "completed"
    assert calls == [True, False, "unlock"]
    names = [event.get("name") or event.get("stepName") for event in events]
    assert (names.count("note"), names.count("run.usage"), names.count("run.progress")) == (1, 1, 1)


async def test_with_blocks_release_what_they_hold_while_the_run_waits():
    held, lock = [], asyncio.Lock()

    async def t(ctx):
        async with lock:
            held.append(lock.locked())
            await ctx.sleep(60)

    app = App()
    app.task("t")(t)
    async with Testbed(app) as bed:
        await bed.run("task:t")
        assert (held, lock.locked()) == ([True], False)


async def test_the_exception_of_a_wait_is_a_sentence():
    seen = []

    async def t(ctx):
        try:
            await ctx.sleep(60)
        except BaseException as wait:
            seen.append(str(wait))
            raise

    await end_of(t)
    assert "The run waits (sleep), and this try of its handler ends" in seen[0]
    assert "Catch Exception" in seen[0]


async def test_a_handler_that_catches_its_wait_waits_and_is_warned_of_once(caplog):
    step_runner._warn_of_catch.cache_clear()
    caplog.set_level(logging.WARNING, logger="runstead.sdk.durable")

    async def t(ctx):
        for _ in range(3):
            try:
                await ctx.sleep(60)
            except BaseException:  # noqa: BLE001 - the point
                return "caught"
        return "slept"

    run = await end_of(t)
    assert run.output == "slept"
    [record] = [one for one in caplog.records if one.name == "runstead.sdk.durable"]
    assert "The handler of task:t caught the end of its try at the wait 'sleep'" in record.getMessage()


async def test_a_wait_inside_a_task_group_is_a_wait():
    async def t(ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.sleep(60))
        return "slept"

    assert (await end_of(t)).output == "slept"


async def test_a_compensation_runs_once_and_not_for_a_wait():
    calls = []

    async def t(ctx):
        await ctx.step("reserve", lambda: calls.append("reserve"))
        try:
            await ctx.sleep(60)
            raise RunFailed("no", "OUT_OF_STOCK")
        except BaseException:
            await ctx.step("undo", lambda: calls.append("undo"))
            raise

    assert (await end_of(t)).error.code == "OUT_OF_STOCK"
    assert calls == ["reserve", "undo"]


def test_a_plain_function_writes_nothing_for_a_wait():
    calls, app = [], App()

    @app.task("t")
    def t(ctx):
        try:
            ctx.sleep(60)
        finally:
            calls.append(ctx.suspending)
            ctx.emit(NOTE)
            ctx.step("unlock", lambda: calls.append("unlock"))

    with BlockingTestbed(app) as bed:
        run = bed.run("task:t")
        bed.advance(60)
        assert bed.result(run).status == "completed"
        assert [event.payload.get("name") for event in bed.events(run)].count("note") == 1
    assert calls == [True, False, "unlock"]


# Cancels


@pytest.mark.parametrize("place", ["step", "handler"])
async def test_the_steps_of_a_finally_run_when_the_run_is_cancelled(place, harness):
    calls, started = [], asyncio.Event()

    async def wait():
        started.set()
        await asyncio.Event().wait()

    async def t(ctx):
        try:
            await (ctx.step("wait", wait) if place == "step" else wait())
        finally:
            calls.append(await ctx.step("unlock", lambda: "unlocked"))
            calls.append(ctx.cancelled)

    app = App()
    app.task("t")(t)
    b = harness(app)
    b.server.add("a")
    await b.time.advance(0)
    await started.wait()
    sent = len(b.server.events)
    b.server.runs["a"]["status"] = "cancelled"
    await b.time.advance(10.1)
    await b.until(lambda: len(calls) == 2)
    assert calls == ["unlocked", True]
    assert len(b.server.events) == sent  # the run has ended: nothing records the step
    await b.stop()


async def test_the_steps_of_a_finally_do_not_run_when_another_worker_has_the_run(harness):
    calls, started = [], asyncio.Event()

    async def t(ctx):
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            try:
                await ctx.step("unlock", lambda: calls.append("unlock"))
            except LeaseLostError as lost:
                calls.append(str(lost))

    app = App()
    app.task("t")(t)
    b = harness(app)
    b.server.add("a")
    await b.time.advance(0)
    await started.wait()
    b.server.runs["a"]["attempt"] += 1
    await b.time.advance(10.1)
    await b.until(lambda: calls)
    assert calls == ["This worker no longer has the run a"]
    await b.stop()


async def test_a_cleanup_that_takes_too_long_is_refused_with_a_sentence(harness, monkeypatch):
    from runstead.sdk.durable import cleanup

    monkeypatch.setattr(cleanup, "CLEANUP_S", 0.05)
    seen, started = [], asyncio.Event()

    async def t(ctx):
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            for name in ("first", "second"):
                try:
                    await ctx.step(name, asyncio.sleep, 60)
                except Exception as error:  # noqa: BLE001 - the point
                    seen.append(str(error))

    app = App()
    app.task("t")(t)
    b = harness(app)
    b.server.add("a")
    await b.time.advance(0)
    await started.wait()
    b.server.runs["a"]["status"] = "cancelled"
    await b.time.advance(10.1)
    await b.until(lambda: len(seen) == 2)
    assert seen[0].startswith("The step 'first' failed: It took longer than 0.0")
    assert seen[1] == (
        "The run was cancelled, and its cleanup may take 0.05 s: the step 'second' was not called"
    )
    await b.stop()


async def test_steps_after_a_swallowed_cancel_are_not_called(harness):
    calls, started = [], asyncio.Event()

    async def t(ctx):
        with contextlib.suppress(asyncio.CancelledError):
            started.set()
            await asyncio.Event().wait()
        try:
            await ctx.step("charge", lambda: calls.append("charge"))
        except LeaseLostError:
            calls.append("refused")

    app = App()
    app.task("t")(t)
    b = harness(app)
    b.server.add("a")
    await b.time.advance(0)
    await started.wait()
    b.server.runs["a"]["status"] = "cancelled"
    await b.time.advance(10.1)
    await b.until(lambda: calls)
    assert calls == ["refused"]
    await b.stop()


async def test_a_plain_function_runs_the_steps_of_its_finally_when_the_run_is_cancelled(harness):
    calls, started, door = [], threading.Event(), threading.Event()

    def t(ctx):
        try:
            started.set()
            door.wait(10)
            for _ in range(3):
                with contextlib.suppress(Exception):
                    ctx.step("charge", lambda: calls.append("charge"))
            ctx.step("charge", lambda: calls.append("charge"))
        finally:
            ctx.step("unlock", lambda: calls.append("unlock"))

    app = App()
    app.task("t")(t)
    b = harness(app)
    b.server.add("a")
    await b.time.advance(0)
    await b.until(started.is_set)
    b.server.runs["a"]["status"] = "cancelled"
    await b.time.advance(10.1)
    door.set()
    await b.until(lambda: calls)
    assert calls == ["unlock"]
    await b.stop()


# Tries that fail and are retried


@pytest.mark.parametrize("how", ["raises", "wraps", "times out"])
async def test_the_steps_of_a_finally_run_again_after_a_retry_and_are_not_taken_for_others(how):
    calls, tries = [], []

    async def t(ctx):
        await ctx.step("lock", lambda: calls.append("lock"))
        tries.append(1)
        try:
            if len(tries) == 1:
                if how == "times out":
                    await asyncio.Event().wait()
                raise ValueError("not in a step")
            await ctx.step("work", lambda: calls.append("work"))
        except ValueError as error:
            await ctx.step("note", lambda: calls.append("note"))
            if how == "wraps":
                raise RuntimeError from error
            raise
        finally:
            await ctx.step("unlock", lambda: calls.append("unlock"))
        return "done"

    run = await end_of(t, retries=1, timeout_seconds=1 if how == "times out" else None)
    assert (run.output, run.error) == ("done", None)
    noted = [] if how == "times out" else ["note"]
    assert calls == ["lock", *noted, "unlock", "work", "unlock"]


async def test_an_answer_to_a_question_of_a_failed_try_does_not_answer_the_next_try():
    tries, answers, app = [], [], App()

    @app.task("t", retries=1)
    async def t(ctx):
        await ctx.step("begin", lambda: 1)
        try:
            tries.append(1)
            raise ValueError(len(tries))
        finally:
            answers.append(await ctx.wait_for_approval("Undo?"))

    async with Testbed(app) as bed:
        run = await bed.run("task:t")
        await bed.approve(run)
        assert (answers, (await bed.get(run)).status) == ([True], "waiting")
        await bed.approve(run, approved=False)
        assert (await bed.result(run)).error.code == "ValueError"
    assert answers == [True, False]


async def test_a_failure_that_the_handler_caught_for_good_keeps_its_steps():
    calls, tries = [], []

    async def t(ctx):
        try:
            raise KeyError("handled")
        except KeyError:
            await ctx.step("repair", lambda: calls.append("repair"))
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("later")
        return "done"

    assert (await end_of(t, retries=1)).output == "done"
    assert calls == ["repair"]
