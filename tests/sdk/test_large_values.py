"""Step results above 255 KiB and outputs above 1 MiB: kept as artifacts, and read back where they are used."""

import json
from dataclasses import dataclass

import pytest

from runstead.sdk import App, ChildFailed, RunsteadError, Step
from runstead.sdk.errors import ValueNotReadable
from runstead.sdk.models.value import reference_of
from runstead.testing import Testbed

MIB = 1024 * 1024
calls: list[str] = []


@dataclass
class Table:
    rows: list[str]


app = App()


@app.task("report")
async def report(ctx, size: int) -> Table:
    table = await ctx.step("table", make_table, size)
    assert isinstance(table, Table)
    await ctx.sleep(3600)
    return Table(table.rows * 5)


def make_table(size: int) -> Table:
    calls.append("table")
    return Table(["é" * (size // 2)])


@app.task("parent")
async def parent(ctx, size: int) -> int:
    child = await ctx.spawn(report, size=size)
    table = await child.result()
    return len(table.rows[0].encode())


@app.task("threads")
def threads(ctx, size: int) -> int:
    table = ctx.spawn(report, size=size).result()
    return len(ctx.step("again", make_table, size).rows[0]) + len(table.rows)


@app.task("echo")
async def echo(ctx, value: object) -> object:
    return await ctx.step("echo", lambda: value)


@app.task("lost")
async def lost(ctx) -> int:
    text = await ctx.step("text", lambda: "x" * 300_000)
    await ctx.sleep(3600)
    return len(text)


@pytest.fixture
async def bed():
    calls.clear()
    async with Testbed(app) as bed:
        yield bed


async def test_a_large_step_result_and_output_are_read_back_and_leave_the_log_small(bed):
    run = await bed.run(report, size=300_000)
    assert run.status == "waiting"
    (finished,) = [event for event in await bed.events(run) if event.event_type == "STEP_FINISHED"]
    reference = reference_of(finished.payload["result"])
    text = json.dumps({"rows": ["é" * 150_000]}, ensure_ascii=False, separators=(",", ":")).encode()
    assert (reference.size, reference.media_type) == (len(text), "application/json")
    assert await bed.client.artifacts.read(run.run_id, reference.name) == text
    await bed.advance(hours=1)
    run = await bed.result(run)
    assert calls == ["table"]
    rows = {"rows": ["é" * 150_000] * 5}
    assert (run.status, run.output, run.artifacts) == ("completed", rows, [])
    stored = (await bed.client.runs.get(run.run_id)).output
    assert reference_of(stored).size > MIB
    assert (await bed.client.run(run.run_id, returns=Table).result()).rows == rows["rows"]
    assert (await bed.client.runs.get(run.run_id, resolve="output")).output == rows


async def test_an_output_below_the_bound_stays_in_the_run(bed):
    run = await bed.run(report, size=1_000)
    await bed.advance(hours=1)
    assert (await bed.client.runs.get(run.run_id)).output == {"rows": ["é" * 500] * 5}


@pytest.mark.parametrize("target", ["task:parent", "task:threads"])
async def test_a_parent_reads_the_large_output_of_a_child(bed, target):
    run = await bed.run(target, input={"size": 300_000})
    await bed.advance(hours=1)
    assert (await bed.result(run)).output == {"task:parent": 300_000, "task:threads": 150_005}[target]


@pytest.mark.parametrize(
    "value",
    [
        {"$artifact": "mine"},
        {"$artifact": {"name": "a", "size": 1, "sha256": "b", "media_type": "c"}, "more": 1},
        {
            "$artifact": {
                "name": f"runstead.value.{'0' * 64}",
                "size": 1,
                "sha256": "0" * 64,
                "media_type": "text/plain",
            }
        },
        {"$encoded": "bm8="},
        {"$encoded": 5},
        {"$literal": {"$encoded": "bm8="}},
        {"$literal": {"$literal": {"$encoded": "bm8="}}},
        {"$literal": 5},
        {"$other": 5},
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_a_value_that_looks_like_a_mark_is_not_misread(bed, value):
    run = await bed.run("task:echo", input={"value": value}, config=value)
    assert (run.status, run.output, run.config) == ("completed", value, value)
    assert await bed.client.run(run.run_id).result() == value
    whole = await bed.run("task:echo", input=None, config={"value": value})
    assert whole.output == value


async def test_a_value_above_the_bound_of_the_app_fails_the_step_and_the_output_once(caplog):
    small = App(value_bytes_max=400_000)

    @small.task("step")
    async def step(ctx):
        return len(await ctx.step("text", text, options=Step(retries=5)))

    def text():
        calls.append("text")
        return "x" * 400_000

    @small.task("output", retries=5)
    async def output(ctx):
        return "x" * 2 * MIB

    calls.clear()
    async with Testbed(small) as bed:
        run = await bed.run(step)
        assert (run.status, run.error.code) == ("failed", "STEP_RESULT_TOO_LARGE")
        assert "400,002 bytes, and at most 400,000 are kept" in run.error.message
        run = await bed.run(output)
        assert (run.status, run.error.code) == ("failed", "OUTPUT_TOO_LARGE")
        assert f"Run {run.run_id} failed: OUTPUT_TOO_LARGE" in caplog.text
    assert calls == ["text"]
    with pytest.raises(ValueError, match="value_bytes_max is above 0"):
        App(value_bytes_max=0)


async def test_a_server_that_stores_no_artifacts_gives_its_reason(bed, monkeypatch):
    monkeypatch.setattr(bed.server._app, "artifacts", None)
    run = await bed.run(report, size=300_000)
    assert (run.status, run.error.code) == ("failed", "STEP_RESULT_TOO_LARGE")
    assert "set RUNSTEAD_ARTIFACTS_URL" in run.error.message


async def test_a_value_that_is_gone_fails_the_run_with_the_reason_and_does_not_lose_it(bed):
    run = await bed.run(lost)
    for path in bed.server._artifacts._root.rglob("*"):
        if path.is_file():
            path.unlink()
    await bed.advance(hours=1)
    run = await bed.result(run)
    assert (run.status, run.error.code, run.attempt) == ("failed", "VALUE_NOT_READABLE", 2)
    assert "is missing" in run.error.message


async def test_a_client_reports_an_output_whose_artifact_has_other_bytes(bed):
    run = await bed.run("task:echo", input={"value": "x" * 2 * MIB})
    assert len(run.output) == 2 * MIB
    for path in bed.server._artifacts._root.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"x", b"y"))
    with pytest.raises(ValueNotReadable, match="has other bytes than the value"):
        await bed.client.run(run.run_id).result()
    with pytest.raises(RunsteadError, match="VALUE_NOT_READABLE"):
        await bed.client.runs.get(run.run_id, resolve="output")


async def test_a_failed_child_is_not_asked_for_its_output(bed):
    failing = App()

    @failing.task("child")
    async def child(ctx):
        raise ValueError("no")

    @failing.task("parent")
    async def parent_of(ctx):
        try:
            await (await ctx.spawn(child)).result()
        except ChildFailed as error:
            return error.code

    async with Testbed(failing) as other:
        assert (await other.run(parent_of)).output == "ValueError"
