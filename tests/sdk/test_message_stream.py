import asyncio
import logging
from contextlib import contextmanager

import pytest

from runstead.sdk import App, Step
from runstead.sdk.durable.history import LOG
from runstead.testing import Testbed

from .in_process_server import InProcessServer

TEXT = ("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END")


@pytest.fixture
async def served():
    one = await InProcessServer().open()
    yield one
    await one.close()


async def ran(served, app, target="task:t", **request):
    served.start_worker(app)
    run = (await served.client.runs.create(target, **request)).run
    return await served.ended(run.run_id)


def texts(events):
    """Return the text of each message, and whether it ended."""
    messages = {}
    for event in events:
        message = messages.setdefault(event["messageId"], ["", False])
        message[0] += event.get("delta", "")
        message[1] = message[1] or event["type"].endswith("_END")
    return [tuple(message) for message in messages.values()]


async def test_text_reasoning_and_tool_calls_are_emitted_as_ag_ui_events(served):
    app = App()

    @app.task("t")
    async def emit(ctx):
        await ctx.reasoning("Hm.")
        async with ctx.text() as message:
            await message.write("Hel")
            await message.write("lo")
        async with ctx.tool_call("search", {"q": "x"}) as call:
            call.result = [1, 2]
        await ctx.tool_call("add", {}, result="3")

    run = await ran(served, app)
    assert run.status == "completed"
    events = await served.events(run.run_id)
    assert [event["type"] for event in events] == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        *["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"] * 2,
        "RUN_FINISHED",
    ]
    assert [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"] == ["[1,2]", "3"]


async def test_a_handler_in_a_thread_emits_messages_too(served):
    app = App()

    @app.task("t")
    def emit(ctx):
        ctx.text("whole")
        with ctx.text() as message:
            message.write("part")
        with ctx.tool_call("search", {"q": "x"}) as call:
            call.result = {"found": 1}
        ctx.usage("p", "m", input_tokens=1)
        return str(ctx.now())

    run = await ran(served, app)
    assert run.status == "completed", run.error
    assert texts(await served.events(run.run_id, *TEXT)) == [("whole", True), ("part", True)]
    (result,) = await served.events(run.run_id, "TOOL_CALL_RESULT")
    assert result["content"] == '{"found":1}'


async def test_a_handler_that_runs_again_emits_nothing_twice(served):
    app, begun = App(), []

    @app.task("t")
    async def emit(ctx):
        begun.append(ctx.run.attempt)

        async def step():
            await ctx.text("in a step")
            ctx.usage("p", "m", input_tokens=10)

        await ctx.text("before")
        await ctx.emit({"type": "CUSTOM", "name": "x", "value": 1})
        await ctx.progress(0.5)
        ctx.usage("p", "m", input_tokens=5, output_tokens=1)
        await ctx.tool_call("search", {"q": "x"}, result=1)
        await ctx.step("s", step)
        async with ctx.text() as message:
            await message.write("open ")
            await ctx.wait_for_approval("Go on?")
            await message.write("and closed")

    served.start_worker(app)
    run = (await served.client.runs.create("task:t")).run
    waiting = await served.until(run.run_id, "waiting")
    assert texts(await served.events(run.run_id, *TEXT))[-1] == ("open ", False)
    await served.client.runs.resume(
        run.run_id, True, type="approval", tool_call_id=waiting.waiting_tool_call_id
    )
    run = await served.ended(run.run_id)
    assert begun == [1, 2]
    assert run.status == "completed", run.error
    events = await served.events(run.run_id)
    assert texts([event for event in events if event["type"] in TEXT]) == [
        ("before", True),
        ("in a step", True),
        ("open and closed", True),
    ]
    names = [event.get("name") or event["type"] for event in events]
    once = ("x", "run.progress", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT")
    assert [names.count(name) for name in once] == [1] * len(once)
    assert (run.metadata["inputTokens"], run.metadata["outputTokens"]) == (15, 1)


async def test_other_text_of_a_handler_that_runs_again_replaces_the_old_message(served):
    app, tries = App(), []
    words = (["One ", "two ", "three"], ["One two ", "six"], ["One two si"])

    @app.task("t")
    async def emit(ctx):
        async with ctx.text() as message:
            for part in words[len(tries)]:
                await message.write(part)
            tries.append(1)
            await ctx.wait_for_event("first")
            await ctx.wait_for_event("second")

    served.start_worker(app)
    run = (await served.client.runs.create("task:t")).run
    for _ in words[1:]:
        waiting = await served.until(run.run_id, "waiting")
        await served.answer(waiting)
    run = await served.ended(run.run_id)
    assert texts(await served.events(run.run_id, *TEXT)) == [
        ("One two three", True),
        ("One two six", True),
        ("One two si", True),
    ]


async def test_the_message_of_a_failed_step_is_ended_and_emitted_again(served):
    app, tries = App(), []

    @app.task("t")
    async def emit(ctx):
        async def step():
            tries.append(1)
            async with ctx.text() as message:
                await message.write(f"try {len(tries)}")
                if len(tries) == 1:
                    raise ValueError("no")

        await ctx.step("s", step, options=Step(retries=1, backoff=0))

    run = await ran(served, app)
    assert run.status == "completed"
    assert texts(await served.events(run.run_id, *TEXT)) == [("try 1", True), ("try 2", True)]


async def test_a_message_that_was_never_ended_ends_before_the_run_does(served):
    app = App()

    @app.task("t")
    async def emit(ctx):
        try:
            async with ctx.text() as message:
                await message.write("half")
                raise ValueError
        except ValueError:
            return

    run = await ran(served, app)
    assert texts(await served.events(run.run_id, *TEXT)) == [("half", True)]


async def test_usage_of_several_models_is_summed_and_listed_by_model(served):
    app = App()

    @app.task("t")
    async def think(ctx):
        ctx.usage("a", "small", input_tokens=1, output_tokens=2, cached_input_tokens=1)
        ctx.usage("b", "big", input_tokens=100, output_tokens=20, reasoning_tokens=7, finish_reason="stop")
        ctx.usage("a", "small", input_tokens=3, partial=True)
        ctx.metadata = {"team": "data"}
        raise ValueError("failed, and used all the same")

    run = await ran(served, app)
    assert run.status == "failed"
    models = run.metadata.pop("models")
    assert run.metadata == {
        "provider": "b",
        "model": "big",
        "inputTokens": 104,
        "outputTokens": 22,
        "cachedInputTokens": 1,
        "reasoningTokens": 7,
        "usageCaptureStatus": "partial",
        "team": "data",
    }
    assert [(one["model"], one["inputTokens"]) for one in models] == [("big", 100), ("small", 4)]


@contextmanager
def logging_alone():
    """Set the root logger as in a program without logging configuration, and restore it afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])


async def test_log_records_of_a_run_are_in_its_log_only(served):
    app, both = App(), asyncio.Barrier(2)
    logger = logging.getLogger("shop")

    @app.task("t")
    async def work(ctx, name: str):
        await both.wait()
        logger.info("handler %s", name)
        logger.debug("too quiet")

        def in_thread():
            logger.warning("step %s", name)

        async def subtask():
            await asyncio.sleep(0)
            logger.info("task %s", name)

        await ctx.step("s", in_thread)
        await asyncio.create_task(subtask())
        ctx.log(f"line {name}")
        try:
            raise ValueError("bad")
        except ValueError:
            logger.exception("caught")

    with logging_alone():
        served.start_worker(app)
        created = [(await served.client.runs.create("task:t", config={"name": n})).run for n in "ab"]
        logger.info("of no run")
        ended = [await served.ended(run.run_id) for run in created]
    for name, run in zip("ab", ended, strict=True):
        logs = run.logs
        lines = [line.partition(" ")[2] for line in logs.split("\n")]
        assert lines[:4] == [
            f"INFO [attempt 1] shop: handler {name}",
            f"WARNING [attempt 1, s] shop: step {name}",
            f"INFO [attempt 1] shop: task {name}",
            f"INFO [attempt 1] line {name}",
        ]
        assert "ValueError: bad" in logs
        assert "quiet" not in logs
        assert "of no run" not in logs
        assert "HTTP" not in logs


async def test_a_log_line_is_stored_once_across_replays_with_its_attempt_and_step():
    app = App()

    @app.task("child")
    async def child(ctx):
        await ctx.wait_for_event("end")

    @app.task("t")
    async def work(ctx):
        ctx.log("begun")
        await ctx.step("charge", lambda: ctx.log("charging"))
        await ctx.sleep(60)
        started = await ctx.spawn(child)
        try:
            ctx.log("before the child")
            await started.result()
        finally:
            ctx.log("cleaned up")
        ctx.log("done")

    async with Testbed(app) as bed:
        run = await bed.run(work)
        await bed.advance(61)
        run = await bed.get(run)
        read = [
            one.payload["value"]["lines"] for one in await bed.events(run) if one.payload.get("name") == LOG
        ]
        assert "before the child" in "".join(read)  # a follower reads it before the run has ended
        await bed.signal(run.waiting_run_id, "end")
        run = await bed.result(run)
        assert [line.partition("Z ")[2] for line in run.logs.split("\n")] == [
            "INFO [attempt 1] begun",
            "INFO [attempt 1, charge] charging",
            "INFO [attempt 2] before the child",
            "INFO [attempt 3] cleaned up",
            "INFO [attempt 3] done",
        ]


async def test_the_end_of_a_wait_shows_that_it_timed_out():
    app = App()

    @app.task("t")
    async def work(ctx):
        await ctx.sleep(60)
        await ctx.wait_for_approval("Ship it?", timeout_seconds=60)

    async with Testbed(app) as bed:
        run = await bed.run(work)
        await bed.advance(200)
        ends = [one.payload for one in await bed.events(run) if one.event_type == "STEP_FINISHED"]
        assert [(one["stepName"], one.get("timedOut")) for one in ends] == [
            ("sleep", None),
            ("approval", True),
        ]


async def test_a_line_longer_than_the_log_is_cut(served):
    app = App()

    @app.task("t")
    async def work(ctx):
        ctx.log("é" * (2 << 20))

    run = await ran(served, app)
    assert run.status == "completed"
    assert 1_000_000 < len(run.logs.encode()) <= 1 << 20
