"""Steps: they run once, are retried, and are refused where they overlap or where the code has changed."""

import asyncio

import msgspec
import pytest

from runstead.sdk import App, RunFailed, RunsteadError, Step, StepFailed
from runstead.sdk.durable.context import attempt_of

from .call_recorder import CallRecorder


class Row(msgspec.Struct):
    name: str
    size: int


def serve(handler, on_changed_code="wait", **options):
    app = App(on_changed_code=on_changed_code)
    app.task("t", **options)(handler)
    return app


async def work(handler, *, crash=None, answers=None, retries=0, **options):
    recorder = CallRecorder(serve(handler, retries=retries), crash=(crash or {}).get, **options)
    recorder.answers = answers or {}
    return await recorder.work()


async def test_a_stored_result_is_decoded_by_the_functions_annotation_both_times():
    async def fetch() -> list[Row]:
        return [Row("a", 1)]

    seen = []

    async def t(ctx):
        seen.append(await ctx.step("fetch", fetch))
        await ctx.sleep(60)
        return seen[-1][0].size

    done = await work(t)
    assert seen == [[Row("a", 1)]] * 2
    assert done.output == 1
    assert done.events_of("STEP_FINISHED", stepName="fetch")[0]["result"] == [{"name": "a", "size": 1}]


async def test_a_failed_step_fails_again_and_is_not_called_again():
    calls, seen = [], []

    def fetch():
        calls.append(1)
        raise ValueError("no such host")

    async def t(ctx):
        try:
            await ctx.step("fetch", fetch)
        except StepFailed as failed:
            seen.append((str(failed), failed.name, failed.step_id, failed.code))
        await ctx.sleep(60)

    await work(t)
    assert calls == [1]
    assert seen == [("The step 'fetch' failed: no such host", "fetch", "1", "ValueError")] * 2


async def test_a_step_is_retried_after_a_backoff_and_its_retries_count_across_crashes():
    calls, pauses = [], []

    def fetch():
        calls.append(1)
        raise ValueError("no")

    async def t(ctx):
        attempt = attempt_of(ctx)
        real, attempt._sleep = attempt._sleep, lambda s: (pauses.append(s), real(s))[1]
        await ctx.step("fetch", fetch, options=Step(retries=3, backoff=2.0))

    whole = await work(t)
    assert (len(calls), pauses) == (4, [2.0, 4.0, 8.0])
    assert [event["value"]["tries"] for event in whole.events_of("CUSTOM", name="run.step_retried")] == [
        1,
        2,
        3,
    ]
    assert whole.error.code == "ValueError"
    calls.clear()
    # The worker dies after it stored the first failed try.
    await work(t, crash={2: "after"})
    assert len(calls) == 4


async def test_a_try_that_takes_too_long_fails_with_timeout():
    async def forever():
        await asyncio.Event().wait()

    async def t(ctx):
        await ctx.step("wait", forever, options=Step(timeout=0.01))

    error = (await work(t)).error
    assert (error.code, str(error)) == ("TIMEOUT", "The step 'wait' failed: It took longer than 0.01 s")


async def test_a_timeout_error_of_the_function_is_not_the_steps_timeout():
    async def connect():
        raise TimeoutError("no answer from the host")

    async def t(ctx):
        await ctx.step("connect", connect, options=Step(timeout=60))

    assert "no answer from the host" in str((await work(t)).error)


async def test_a_result_that_is_no_json_fails_the_step_and_the_run_at_once():
    calls = []

    async def make():
        calls.append(1)
        return object()

    async def t(ctx):
        await ctx.step("make", make, options=Step(retries=5))

    done = await work(t, retries=5)
    assert (done.error.code, len(calls)) == ("STEP_RESULT_NOT_JSON", 1)


async def test_the_largest_allowed_result_is_stored():
    async def make():
        return "x" * (255 * 1024 - 2)

    async def t(ctx):
        return len(await ctx.step("make", make))

    done = await work(t)
    assert done.output == 255 * 1024 - 2
    assert len(msgspec.json.encode(done.events_of("STEP_FINISHED")[0])) < 256 * 1024


async def test_run_failed_in_a_step_is_final():
    calls = []

    async def check():
        calls.append(1)
        raise RunFailed("The account is closed", "ACCOUNT_CLOSED", {"account": 7})

    async def t(ctx):
        await ctx.step("check", check, options=Step(retries=3))

    done = await work(t, retries=3)
    assert (len(calls), done.error.code, done.error.detail) == (1, "ACCOUNT_CLOSED", {"account": 7})


# Nested and overlapping steps


async def test_a_step_has_no_steps_of_its_own():
    async def t(ctx):
        async def outer():
            await ctx.step("inner", lambda: 1)

        await ctx.step("outer", outer)

    error = (await work(t)).error
    assert error.code == "NESTED_STEP"
    assert "'inner' was called inside the step 'outer'" in str(error)


async def test_steps_that_overlap_without_gather_are_refused():
    async def t(ctx):
        return await asyncio.gather(ctx.step("a", lambda: 1), ctx.step("b", lambda: 2))

    error = (await work(t, retries=3)).error
    assert error.code == "STEPS_OVERLAP"
    assert "ctx.gather" in str(error)


async def test_code_that_a_try_left_running_calls_no_steps():
    left = []

    async def t(ctx):
        async def late():
            await asyncio.sleep(0.01)
            await ctx.step("late", lambda: 1)

        if not left:
            left.append(asyncio.ensure_future(late()))
        await ctx.sleep(60)

    done = await work(t)
    assert done.outcome == "completed"
    with pytest.raises(RunFailed, match="by a try that has ended"):
        await left[0]
    assert done.events_of("STEP_STARTED", stepName="late") == []


# Code that has changed


async def replay(before, after):
    recorder = CallRecorder(serve(before))
    assert await recorder.attempt() == "waiting"
    recorder.advance()
    recorder.app = serve(after, on_changed_code="fail")
    assert await recorder.attempt() == "failed"
    assert recorder.error.code == "NON_DETERMINISTIC"
    detail = recorder.error.detail
    assert detail["file"] == "tests/sdk/test_steps.py"
    return str(recorder.error), tuple(detail[name] for name in ("step_id", "expected", "found"))


async def one():
    return 1


async def test_another_step_at_the_same_position_fails_the_run_with_the_position():
    async def before(ctx):
        await ctx.step("fetch", one)
        await ctx.sleep(60)

    async def after(ctx):
        await ctx.step("load", one)

    sentence, detail = await replay(before, after)
    assert "step 1 is 'fetch' in the log, and 'load' in the code (tests/sdk/test_steps.py:" in sentence
    assert detail == ("1", "fetch", "load")


async def test_a_step_added_before_a_wait_is_detected():
    async def before(ctx):
        await ctx.sleep(60)

    async def after(ctx):
        await ctx.step("new", one)
        await ctx.sleep(60)

    assert (await replay(before, after))[1] == ("1", "sleep", "new")


async def test_a_removed_step_is_detected_at_the_end():
    async def before(ctx):
        await ctx.step("fetch", one)
        await ctx.sleep(60)

    async def after(ctx):
        await ctx.step("fetch", one)

    sentence, detail = await replay(before, after)
    assert "step 2 is 'sleep' in the log, and the code ends before it (tests/sdk/test_steps.py:" in sentence
    assert detail == ("2", "sleep", None)


async def test_a_gather_replaced_by_a_step_and_a_step_replaced_by_a_gather_are_detected():
    async def plain(ctx):
        await ctx.step("a", one)
        await ctx.sleep(60)

    async def both(ctx):
        await ctx.gather(ctx.step("a", one), ctx.step("b", one))
        await ctx.sleep(60)

    assert (await replay(plain, both))[1] == ("1", "a", "gather")
    assert (await replay(both, plain))[1] == ("1", "gather", "a")


async def test_a_step_in_place_of_now_is_detected():
    async def before(ctx):
        ctx.now()
        await ctx.sleep(60)

    async def after(ctx):
        await ctx.step("a", one)

    assert (await replay(before, after))[1] == ("1", "now", "a")


# Answers of the server


async def test_an_event_that_the_server_refuses_fails_the_run_with_its_code():
    calls = []

    async def t(ctx):
        await ctx.emit({"type": "CUSTOM", "name": "bad"})
        await ctx.step("a", lambda: calls.append(1))

    recorder = CallRecorder(serve(t))
    refusal = RunsteadError("An event is too large", 413, "EVENT_TOO_LARGE")
    recorder.refuse = lambda event: refusal if event.get("name") == "bad" else None
    await recorder.work()
    assert (recorder.error, calls) == (refusal, [])


async def test_a_superseded_worker_calls_no_more_steps():
    """Two workers for one run: the first freezes before its second step, and continues when the second has the run."""
    calls, frozen, thawed = [], asyncio.Event(), asyncio.Event()

    async def t(ctx):
        await ctx.step("a", lambda: calls.append(("a", ctx.run.attempt)))
        if ctx.run.attempt == 1:
            frozen.set()
            await thawed.wait()
        await ctx.step("b", lambda: calls.append(("b", ctx.run.attempt)))

    recorder = CallRecorder(serve(t))
    first = asyncio.ensure_future(recorder.attempt())
    await frozen.wait()
    overtaken = recorder.context
    assert await recorder.attempt() == "completed"
    thawed.set()
    assert await first == "failed"
    overtaken.close()
    assert calls == [("a", 1), ("b", 2)]
    assert len(recorder.events_of("STEP_STARTED", stepName="b")) == 1


async def test_a_long_history_is_read_in_pages_and_its_steps_need_no_calls():
    async def t(ctx):
        for number in range(10_000):
            await ctx.step(f"step {number}", one)
        return ctx.run.attempt

    recorder = CallRecorder(serve(t))
    for number in range(10_000):
        step = {"stepId": str(number + 1), "stepName": f"step {number}"}
        recorder.events.append(("STEP_STARTED", {"type": "STEP_STARTED", **step}, recorder.now))
        recorder.events.append(
            ("STEP_FINISHED", {"type": "STEP_FINISHED", **step, "result": 1}, recorder.now)
        )
    assert await recorder.attempt() == "completed"
    assert recorder.calls == recorder.pages == 40
