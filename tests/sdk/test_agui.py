import asyncio

import pytest

from runstead.sdk import App, agui

from .in_process_server import InProcessServer

EVENTS = [
    {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hello"},
    {"type": "TEXT_MESSAGE_END", "messageId": "m"},
]
FINISHED = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}


@pytest.fixture
async def served():
    one = await InProcessServer().open()
    yield one
    await one.close()


async def each(*events):
    for event in events:
        yield event


async def types(served, run):
    return [event["type"] for event in await served.events(run.run_id)]


async def test_an_agent_of_pydantic_ai_is_recorded(served):
    pytest.importorskip("ag_ui")
    ai = pytest.importorskip("pydantic_ai")
    from ag_ui.core import RunAgentInput, UserMessage
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.ui.ag_ui import AGUIAdapter

    agent = ai.Agent(TestModel())

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"sunny in {city}"

    asked = RunAgentInput(
        thread_id="t",
        run_id="r",
        state={},
        messages=[UserMessage(id="1", role="user", content="Weather?")],
        tools=[],
        context=[],
        forwarded_props={},
    )
    used = []
    stream = AGUIAdapter(agent=agent, run_input=asked).run_stream(on_complete=used.append)

    def usage():
        return {"model": "test", "inputTokens": used[0].usage.input_tokens}

    run = await agui.record(None, stream, client=served.client, metadata=usage)
    assert (run.status, run.target) == ("completed", "task:ag-ui")
    assert run.metadata["inputTokens"] > 0
    recorded = await types(served, run)
    assert recorded[0] == "RUN_STARTED"
    assert recorded[-1] == "RUN_FINISHED"
    assert {"TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_RESULT", "TEXT_MESSAGE_CONTENT"} <= set(recorded)
    (result,) = await served.events(run.run_id, "TOOL_CALL_RESULT")
    assert result["content"] == "sunny in a"


async def test_mappings_are_recorded_and_the_end_ends_the_run(served):
    end = {**FINISHED, "result": {"answer": 42}, "metadata": {"model": "m", "outputTokens": 2}}
    run = await agui.record("my-run", [*EVENTS, end, {"type": "never read"}], client=served.client)
    assert (run.run_id, run.status, run.output) == ("my-run", "completed", {"answer": 42})
    assert run.metadata == {"model": "m", "outputTokens": 2}
    assert await types(served, run) == [*(event["type"] for event in EVENTS), "RUN_FINISHED"]


async def test_an_existing_run_is_used(served):
    made = (await served.client.runs.create("task:mine", id="mine")).run
    assert (await agui.record(made, each(FINISHED), client=served.client)).run_id == "mine"
    made = (await served.client.runs.create("task:mine", id="other")).run
    run = await agui.record("other", each(*EVENTS[1:], FINISHED), client=served.client)
    assert (run.run_id, run.target) == ("other", "task:mine")
    assert (await types(served, run))[:2] == ["RUN_STARTED", "TEXT_MESSAGE_START"]


async def test_errors_of_the_agent_fail_the_run(served):
    error = {"type": "RUN_ERROR", "message": "No money", "code": "BROKE"}
    run = await agui.record(None, each(*EVENTS, error), client=served.client)
    assert (run.status, run.error.code, run.error.message) == ("failed", "BROKE", "No money")
    run = await agui.record(None, each(*EVENTS), client=served.client)
    assert (run.status, run.error.code) == ("failed", "STREAM_ENDED")


async def test_events_that_cannot_be_read_fail_the_run_and_raise(served):
    async def broken():
        yield EVENTS[0]
        raise ZeroDivisionError("bad")

    for number, (events, error) in enumerate([(broken(), ZeroDivisionError), (each("no event"), TypeError)]):
        with pytest.raises(error):
            await agui.record(f"r{number}", events, client=served.client)
        run = await served.client.runs.get(f"r{number}")
        assert (run.status, run.error.code) == ("failed", error.__name__)


async def test_a_question_at_the_end_is_stored(served):
    outcome = {"type": "interrupt", "interrupts": [{"id": "1", "reason": "approval"}]}
    run = await agui.record(None, each({**FINISHED, "outcome": outcome}), client=served.client)
    assert run.output["outcome"] == outcome


async def test_reading_stops_where_the_run_is_cancelled(served):
    closed = asyncio.Event()

    async def endless():
        try:
            while True:
                await asyncio.sleep(0.01)
                yield {"type": "CUSTOM", "name": "tick", "value": 1}
        finally:
            closed.set()

    recording = asyncio.ensure_future(agui.record("endless", endless(), client=served.client))
    async with asyncio.timeout(30):
        while not (await served.client.runs.list()).data:  # noqa: ASYNC110 - the recording makes it
            await asyncio.sleep(0.01)
        await served.client.runs.cancel("endless")
        assert (await recording).status == "cancelled"
    assert closed.is_set()


async def test_a_handler_relays_an_agent_as_a_step(served):
    app, read = App(), []

    @app.task("t")
    async def work(ctx, fail: bool = False):
        async def events():
            read.append(1)
            for event in EVENTS:
                yield event
            yield {"type": "RUN_ERROR", "message": "no"} if fail else {**FINISHED, "result": "done"}

        async def agent():
            return await agui.relay(ctx, events())

        answer = await ctx.step("agent", agent)
        await ctx.wait_for_event("e")
        return answer

    served.start_worker(app)
    run = (await served.client.runs.create("task:t")).run
    await served.answer(await served.until(run.run_id, "waiting"))
    run = await served.ended(run.run_id)
    assert (run.output, len(read)) == ("done", 1)
    failed = (await served.client.runs.create("task:t", config={"fail": True})).run
    run = await served.ended(failed.run_id)
    assert (run.status, run.error.code) == ("failed", "AGENT_ERROR")
