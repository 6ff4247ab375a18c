"""Waits: the handler is ended and called again, whatever it catches, also with a wrong clock."""

import asyncio
import threading
from datetime import timedelta

import pytest

from runstead.sdk import App, ChildFailed, RunFailed, StepFailed, WaitTimeout
from runstead.sdk.durable.waits import Waits

from .call_recorder import CallRecorder


async def work(handler, *, crash=None, answers=None, **options):
    app = App()
    app.task("t", **options)(handler)
    recorder = CallRecorder(app, crash=(crash or {}).get)
    recorder.answers = answers or {}
    return await recorder.work()


async def one():
    return 1


# Catching


async def test_a_wait_is_not_caught_by_except_exception():
    async def t(ctx):
        try:
            await ctx.sleep(60)
        except Exception:  # noqa: BLE001 - the point
            return "caught"
        return "slept"

    assert (await work(t)).output == "slept"


async def test_steps_in_a_finally_run_at_the_end_and_not_when_the_run_waits():
    calls = []

    async def t(ctx):
        try:
            calls.append("try")
            await ctx.sleep(60)
        finally:
            await ctx.step("unlock", lambda: calls.append("unlock"))

    done = await work(t)
    assert (done.outcome, calls) == ("completed", ["try", "try", "unlock"])


async def test_a_handler_that_catches_the_wait_waits_nevertheless():
    calls = []

    async def t(ctx):
        try:
            await ctx.sleep(60)
            calls.append("slept")
        finally:
            return len(calls)  # noqa: B012 - the point

    done = await work(t)
    assert (done.output, done.attempts) == (1, 2)


async def test_a_handler_that_turns_the_wait_into_an_error_waits_nevertheless():
    async def t(ctx):
        try:
            await ctx.sleep(60)
        except BaseException as wait:
            raise ValueError("broken") from wait
        return "slept"

    done = await work(t, retries=2)
    assert (done.output, done.events_of("CUSTOM", name="run.retried")) == ("slept", [])


# Approvals and events


@pytest.mark.parametrize(
    ("answer", "approved"),
    [(True, True), (False, False), (None, False), ({"approved": True}, True), ({"approved": False}, False)],
)
async def test_an_approval_is_given_or_not(answer, approved):
    async def t(ctx):
        return await ctx.wait_for_approval("Write?")

    assert (await work(t, answers={"Write?": answer})).output is approved


async def test_a_wait_without_an_answer_in_time_raises_wait_timeout():
    async def t(ctx):
        seen = []
        for ask in (ctx.wait_for_approval, ctx.wait_for_event):
            try:
                await ask("?", timeout_seconds=60)
            except WaitTimeout as late:
                seen.append(str(late))
        return seen

    assert (await work(t)).output == ["No answer to '?' came in time", "The event '?' did not come in time"]


async def test_each_wait_is_started_and_finished_once():
    async def t(ctx):
        await ctx.wait_for_event("order")
        await ctx.sleep(60)
        await ctx.sleep(0.01)

    done = await work(t, answers={"order": 1})
    for kind in ("STEP_STARTED", "STEP_FINISHED"):
        assert [event["stepId"] for event in done.events_of(kind)] == ["1", "2", "3"]
    assert done.asked() == {"event:order:1": "order"}


async def test_a_wait_that_a_client_resumes_without_a_result_ends():
    async def t(ctx):
        await ctx.sleep(3600)
        return "awake"

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app)
    assert await recorder.attempt() == "waiting"
    recorder.resume("timer")  # long before its time, by POST /runs/{id}/resume
    assert await recorder.attempt() == "completed"
    assert recorder.calls < 20


@pytest.mark.parametrize("wrong", [timedelta(days=-400), timedelta(days=400)], ids=["behind", "ahead"])
async def test_a_worker_whose_clock_is_wrong_neither_repeats_nor_hangs(wrong, monkeypatch):
    """The second worker's clock is wrong: the server's timer has ended the wait, for every worker."""
    from runstead.sdk.durable import waits

    async def t(ctx):
        await ctx.sleep(60)
        return "awake"

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app)
    assert await recorder.attempt() == "waiting"
    recorder.advance()

    class Clock(waits.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + wrong

    monkeypatch.setattr(waits, "datetime", Clock)
    assert await recorder.attempt() == "completed"
    assert (recorder.output, recorder.calls) == ("awake", 4)


# Concurrent branches


async def test_the_first_timer_of_waiting_branches_resumes_the_run():
    order = []

    async def after(ctx, seconds):
        await ctx.sleep(seconds)
        await ctx.step(f"after {seconds}", lambda: order.append(seconds))

    async def t(ctx):
        await ctx.gather(after(ctx, 300), after(ctx, 60), after(ctx, 120))

    assert (await work(t)).outcome == "completed"
    assert order == [60, 120, 300]


async def test_a_timer_runs_beside_an_approval_and_does_not_end_it():
    order = []

    async def slept(ctx):
        await ctx.sleep(60)
        await ctx.step("slept", lambda: order.append("slept"))

    async def t(ctx):
        answer, _ = await ctx.gather(ctx.wait_for_approval("Write?"), slept(ctx))
        return answer

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app)
    assert await recorder.attempt() == "waiting"
    assert recorder.waiting["tool_call_id"].startswith("approval:")
    recorder.advance()  # the minute passes
    assert await recorder.attempt() == "waiting"
    assert order == ["slept"]
    recorder.resume("approval", True)
    assert await recorder.attempt() == "completed"
    assert recorder.output is True


async def test_a_failed_branch_of_a_gather_cancels_the_others_and_is_the_same_in_every_try():
    ended, seen = [], []

    async def broken():
        raise ValueError("no")

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    async def t(ctx):
        try:
            await ctx.gather(ctx.step("endless", endless), ctx.step("broken", broken))
        except StepFailed as failed:
            seen.append(failed.name)
        await ctx.sleep(60)

    done = await work(t)
    assert (done.outcome, ended, seen) == ("completed", [1], ["broken", "broken"])


# Retries of the run


async def test_a_retry_resets_the_failed_step_and_the_steps_after_it_only():
    calls = []

    async def charge():
        calls.append("charge")
        if calls.count("charge") == 1:
            raise ValueError("declined")
        return "paid"

    async def t(ctx):
        await ctx.step("reserve", lambda: calls.append("reserve"))
        try:
            paid = await ctx.step("charge", charge)
        except StepFailed:
            if await ctx.wait_for_approval("Undo?"):
                await ctx.step("undo", lambda: calls.append("undo"))
            raise
        sure = await ctx.wait_for_approval("Ship?")
        return [paid, sure]

    done = await work(t, retries=1, answers={"Undo?": True, "Ship?": False})
    assert calls == ["reserve", "charge", "undo", "charge"]
    # The two approvals have the same step id. The answer to the first one must not answer the second.
    assert (done.output, list(done.asked().values())) == (["paid", False], ["Undo?", "Ship?"])


async def test_a_failed_step_is_found_behind_the_exception_that_it_caused():
    calls = []

    async def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("no")
        return len(calls)

    async def t(ctx):
        try:
            return await ctx.step("flaky", flaky)
        except StepFailed as failed:
            raise RuntimeError("could not") from failed

    done = await work(t, retries=2)
    assert done.output == 3
    assert [event["value"]["retry"] for event in done.events_of("CUSTOM", name="run.retried")] == [1, 2]


async def test_run_failed_is_not_retried():
    calls = []

    async def t(ctx):
        calls.append(1)
        raise RunFailed("It cannot be", "NEVER")

    assert (await work(t, retries=5)).error.code == "NEVER"
    assert calls == [1]


async def test_a_try_that_takes_too_long_is_retried_and_fails_with_timeout():
    tries = []

    async def t(ctx):
        tries.append(1)
        await asyncio.Event().wait()

    done = await work(t, retries=1, timeout_seconds=0.01)
    assert (done.error.code, len(tries)) == ("TIMEOUT", 2)


async def test_each_try_gets_its_arguments_unchanged():
    seen = []

    async def t(ctx, config: dict):
        seen.append(len(config["rows"]))
        config["rows"].append(4)
        await ctx.wait_for_event("once")

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app, config={"rows": [1, 2, 3]})
    recorder.receipts.add(("event", "event:once:1"))  # answered before the wait: the same worker continues
    await recorder.attempt()
    assert seen == [3, 3]


async def test_an_argument_that_is_not_valid_fails_the_run_without_a_retry():
    async def t(ctx, rows: int):
        raise AssertionError

    app = App()
    app.task("t", retries=3)(t)
    for config in ({"rows": "many"}, {}):
        recorder = await CallRecorder(app, config=config).work()
        assert recorder.error.code == "INVALID_INPUT"
        assert "'rows'" in recorder.error.message
        assert recorder.attempts == 1


# Child runs


async def test_a_child_is_created_once_and_its_failure_has_a_reason():
    async def t(ctx):
        child = await ctx.spawn("task:index", config={"rows": 3})
        try:
            await child.result()
        except ChildFailed as failed:
            return [failed.code, str(failed), (await child.wait()).status]

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app, crash={2: "after"}.get)  # created, and the worker died before it knew
    while await recorder.attempt() != "waiting":
        pass
    [body] = recorder.created
    assert body["parent_run_id"] == "r"
    error = {"message": "disk full", "code": "X"}
    recorder.children[body["public_id"]] = {"status": "failed", "error": error}
    recorder.resume("run", receipt=False)
    assert await recorder.attempt() == "completed"
    name = body["public_id"]
    assert recorder.output == ["X", f"The run {name} failed: disk full", "failed"]
    assert len(recorder.created) == 1


async def test_a_child_that_ends_before_the_wait_makes_no_wait():
    async def t(ctx):
        return await (await ctx.spawn("task:index")).result()

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app)
    wait = recorder.wait

    def ends_first(body):
        recorder.children[body["awaited_run_id"]].update(status="completed", output=7)
        return wait(body)

    recorder.wait = ends_first
    assert await recorder.attempt() == "completed"
    assert recorder.output == 7


async def test_a_child_that_was_deleted_fails_the_run_with_child_gone():
    async def t(ctx):
        child = await ctx.spawn("task:index")
        recorder.children.clear()
        await child.result()

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app)
    await recorder.work()
    assert recorder.error.code == "CHILD_GONE"


# In threads


async def test_a_plain_function_has_all_methods_and_they_block():
    calls = []

    def t(ctx, n: int):
        def half(of):
            calls.append(of)
            return of / 2

        first, second = ctx.gather(lambda: ctx.step("a", half, n), lambda: ctx.step("b", half, 2 * n))
        seen = ctx.step("seen", lambda: [ctx.run.run_id, first, second])
        values = [ctx.now().isoformat(), ctx.random(), str(ctx.uuid())]
        kept = ctx.step("values", lambda: values)
        ctx.sleep(60)
        child = ctx.spawn("task:index")
        return [seen, kept == values, ctx.wait_for_event("order"), child.wait().status]

    app = App()
    app.task("t")(t)
    recorder = CallRecorder(app, config={"n": 3})
    recorder.answers = {"order": {"id": 1}}
    await recorder.work()
    assert recorder.output == [["r", 1.5, 3.0], True, {"id": 1}, "completed"], recorder.error
    assert sorted(calls) == [3, 6]


async def test_a_thread_left_running_by_a_timeout_calls_no_steps():
    left, calls, again = asyncio.Event(), [], threading.Event()
    loop = asyncio.get_running_loop()

    def t(ctx):
        if calls:
            again.set()
            return "second"
        calls.append("first")
        try:
            assert again.wait(60)
            ctx.step("late", lambda: calls.append("late"))
        except RunFailed as refused:
            calls.append(refused.code)
        finally:
            loop.call_soon_threadsafe(left.set)
        return "first"

    done = await work(t, retries=1, timeout_seconds=1)
    await left.wait()
    assert (done.output, calls) == ("second", ["first", "TRY_ENDED"])


def test_a_step_without_an_app_is_refused():
    async def ask():
        await Waits.step(object.__new__(Waits), "a", one)

    with pytest.raises(RuntimeError, match="for the functions that an App serves"):
        asyncio.run(ask())
