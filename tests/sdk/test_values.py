"""Progress and values: `ctx.progress`, `ctx.set`, and what clients read of them."""

from dataclasses import dataclass

import pytest

from runstead.sdk import App, RunsteadError
from runstead.testing import Testbed

from .in_process_server import InProcessServer


@pytest.fixture
async def served():
    one = await InProcessServer().open()
    yield one
    await one.close()


@pytest.fixture
def started(served):
    """started(handler): its run, served by a worker, and waiting or ended."""

    async def start(handler, status=None, **options):
        app = App()
        app.task("t", **options)(handler)
        served.start_worker(app)
        run = (await served.client.runs.create("task:t")).run
        return await (served.ended(run.run_id) if status is None else served.until(run.run_id, status))

    return start


async def reported(served, run, name):
    """The contents of all events of this name, in order."""
    events = await served.events(run.run_id, "CUSTOM")
    return [event["value"] for event in events if event["name"] == f"run.{name}"]


async def set_values(served, run):
    return [(value["name"], value["value"]) for value in await reported(served, run, "value")]


@dataclass
class Stage:
    file: int
    of: int


async def test_progress_and_values_are_read_while_the_run_works(served, started):
    async def t(ctx):
        await ctx.progress(0.4, "parsing")
        await ctx.set("stage", Stage(3, of=9))
        await ctx.set("rows", None)
        seen.append(await served.client.value(ctx.run.run_id, "stage"))
        await ctx.flush()
        seen.append((await served.client.runs.get(ctx.run.run_id)).progress)
        await ctx.progress(2, "x" * 600)

    seen = []
    run = await started(t)
    stage, progress = seen
    assert stage == {"file": 3, "of": 9}
    assert (progress.fraction, progress.message) == (0.4, "parsing")
    assert progress.at is not None
    assert (run.progress.fraction, run.progress.message) == (1.0, "x" * 512)
    values = await served.client.runs.values(run.run_id)
    assert [(one.name, one.value) for one in values.data] == [("rows", None), ("stage", {"file": 3, "of": 9})]
    assert (values["stage"], values.get("other"), values.get("other", 1)) == (stage, None, 1)
    handle = served.client.run(run.run_id)
    assert (await handle.value("stage"), await handle.value("other", "none")) == (stage, "none")
    assert await handle.values() == values == await served.client.values(run.run_id)


async def test_a_plain_function_sets_them_without_await(served, started):
    def t(ctx):
        ctx.progress(message="sorting")
        ctx.set("stage", "sorted")

    run = await started(t)
    assert (run.status, run.progress.fraction, run.progress.message) == ("completed", None, "sorting")
    assert await served.client.runs.value(run.run_id, "stage") == "sorted"


async def test_a_replay_reports_nothing_of_what_it_passes(served, started):
    """Not even with other contents: a value never goes back."""
    tries = []

    async def one(ctx, name):
        await ctx.set(name, "in a step")

    async def branch(ctx, name):
        await ctx.step(f"step {name}", one, ctx, name)
        await ctx.set("branch", name)
        await ctx.progress(0.5)

    async def t(ctx):
        tries.append(len(tries))
        await ctx.set("try", f"first {tries[-1]}")
        await ctx.progress(0.1, f"try {tries[-1]}")
        ctx.uuid()  # a step that leaves no event
        await ctx.step("s", one, ctx, "step")
        await ctx.set("try", f"second {tries[-1]}")
        await ctx.gather(branch(ctx, "a"), branch(ctx, "b"))
        await ctx.wait_for_approval("Go on?")
        await ctx.set("try", f"third {tries[-1]}")
        await ctx.progress(0.9)

    waiting = await started(t, "waiting")
    await served.client.runs.resume(waiting.run_id, True, type="approval")
    run = await served.ended(waiting.run_id)
    assert (run.status, tries) == ("completed", [0, 1])
    values = await set_values(served, run)
    assert [value for name, value in values if name == "try"] == ["first 0", "second 0", "third 1"]
    assert sorted(name for name, _ in values if name != "try") == ["a", "b", "branch", "branch", "step"]
    assert [value.get("fraction") for value in await reported(served, run, "progress")] == [
        0.1,
        0.5,
        0.5,
        0.9,
    ]


async def test_work_that_is_done_again_is_reported_again():
    app, tries = App(), []

    def flaky():
        if len(tries) == 1:
            raise OSError("no route")

    @app.task("t", retries=1)
    async def t(ctx):
        tries.append(1)
        await ctx.set("kept", 1)
        await ctx.step("kept", len, "kept")
        await ctx.set("stage", "sending")
        await ctx.step("send", flaky)
        await ctx.set("stage", "sent")

    async with Testbed(app) as bed:
        run = await bed.run("task:t")
        assert run.status == "completed", run.error
        set_by = [
            event.payload["value"]
            for event in await bed.events(run)
            if event.payload.get("name") == "run.value"
        ]
    assert [value["name"] for value in set_by] == ["kept", "stage", "stage", "stage"]


async def test_a_value_beyond_a_bound_is_refused_where_it_is_set(started):
    refusals = []

    async def t(ctx):
        for name, value in (("", 1), ("a\nb", 1), ("n" * 129, 1), ("large", "x" * 16_384)):
            with pytest.raises(ValueError, match=r"name has 1 to 128|16,386 bytes of JSON") as refused:
                await ctx.set(name, value)
            refusals.append(str(refused.value))
        with pytest.raises(TypeError):
            await ctx.set("object", object())
        for number in range(64):
            await ctx.set(f"v{number}", number)
        with pytest.raises(ValueError, match="at most 64 values: put several into one object"):
            await ctx.set("more", 1)
        await ctx.set("v0", "again")

    run = await started(t)
    assert (run.status, len(refusals)) == ("completed", 4), run.error


async def test_the_names_of_earlier_tries_count(started, served):
    async def t(ctx):
        for number in range(64):
            await ctx.set(f"v{number}", number)
        await ctx.wait_for_approval("Go on?")
        await ctx.set("more", 1)

    waiting = await started(t, "waiting")
    await served.client.runs.resume(waiting.run_id, True, type="approval")
    run = await served.ended(waiting.run_id)
    assert (run.status, run.error.code) == ("failed", "ValueError")


# Approvals without a call id


async def test_of_several_open_approvals_each_is_answered_by_its_call_id(served, started):
    async def t(ctx):
        return await ctx.gather(ctx.wait_for_approval("Pay?"), ctx.wait_for_approval("Ship?"))

    waiting = await started(t, "waiting")
    asked = [value["tool_call_id"] for value in await reported(served, waiting, "asked")]
    with pytest.raises(RunsteadError, match=f"one of {', '.join(asked)}") as several:
        await served.client.approve(waiting.run_id)
    assert (several.value.status, several.value.code) == (409, "TOOL_RESULT_CONFLICT")
    await served.client.reject(waiting.run_id, tool_call_id=asked[1])
    await served.until(waiting.run_id, "waiting")
    await served.client.approve(waiting.run_id)
    assert (await served.ended(waiting.run_id)).output == [True, False]
