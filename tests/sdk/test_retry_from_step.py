"""Retries of durable runs that go on from a step: what they keep, and what runs again."""

import pytest

from runstead.sdk import App, Context, RunFailed, RunsteadError
from runstead.testing import Testbed

app = App()
calls: list[str] = []
broken: set[str] = set()


def work(name, value=None):
    calls.append(name)
    if name in broken:
        raise ValueError(f"{name} is broken")
    return value if value is not None else name


@pytest.fixture(autouse=True)
def nothing_called():
    calls.clear()
    broken.clear()


@pytest.fixture
async def bed():
    async with Testbed(app) as made:
        yield made


@app.task("child")
async def child(ctx: Context, name: str):
    return work(name)


@app.workflow("order")
async def order(ctx: Context, item: str = "tea"):
    key = [str(ctx.uuid()), ctx.random(), ctx.now().isoformat()]
    await ctx.set("stage", "asked")
    paid = await ctx.step("charge", work, "charge", key)
    ctx.usage("openai", "gpt", input_tokens=10)
    answers = [await ctx.wait_for_event("paid"), await ctx.wait_for_approval("Ship?")]
    started = await ctx.spawn(child, name="pack")
    packed = await started.result()
    await ctx.sleep(60)
    shipped = await ctx.step("ship", work, "ship")
    return [item, paid, answers, packed, shipped, key == paid]


async def ordered(bed):
    run = await bed.run(order)
    await bed.signal(run, "paid", {"sum": 5})
    await bed.approve(run)
    await bed.advance(60)
    return await bed.get(run)


def of(events, name):
    return [event for event in events if event.payload.get("name") == name]


async def test_it_goes_on_from_the_failed_step_with_the_results_of_the_steps_before(bed):
    broken.add("ship")
    run = await ordered(bed)
    assert (run.status, run.error.code) == ("failed", "ValueError")
    broken.clear()
    retried = await bed.retry(run, "failed")
    assert retried.output == ["tea", retried.output[1], [{"sum": 5}, True], "pack", "ship", True]
    assert calls == ["charge", "pack", "ship", "ship"]
    assert retried.retry_of == retried.retry_from.run_id == run.run_id
    assert retried.retry_from.step_id == "10"
    log = await bed.events(retried)
    place = log.index(of(log, "run.retry_from")[0])
    assert {event.source for event in log[: place + 1]} == {"retry"}
    assert {event.source for event in log[place + 1 :]} <= {"worker", "server"}
    old = await bed.events(run)
    assert old[retried.retry_from.event_id].payload["stepName"] == "ship"
    assert (await bed.client.runs.values(retried.run_id))["stage"] == "asked"
    # What the first run spent is counted once.
    assert (await bed.client.runs.get(run.run_id)).metadata["inputTokens"] == 10
    assert retried.metadata is None


async def test_a_named_step_and_the_steps_after_it_run_again(bed):
    run = await ordered(bed)
    assert run.status == "completed"
    retried = await bed.retry(run, "5", config={"item": "coffee"}, title="Again", labels={"a": "b"})
    assert (retried.status, retried.waiting_tool_name) == ("waiting", "event:paid")
    assert (retried.title, retried.labels, retried.config) == ("Again", {"a": "b"}, {"item": "coffee"})
    await bed.signal(retried, "paid", "cash")
    await bed.approve(retried, False)
    await bed.advance(60)
    ended = await bed.result(retried)
    assert ended.output == ["coffee", run.output[1], ["cash", False], "pack", "ship", True]
    assert calls == ["charge", "pack", "ship", "pack", "ship"]
    # A retry of the retry: the values of the first run's steps are those of the first run.
    third = await bed.retry(ended, "10")
    assert third.output == ended.output
    assert calls[-1:] == ["ship"]
    assert len(calls) == 6


async def test_a_run_without_a_failed_step_goes_on_after_its_last_result(bed):
    run = await bed.run(order)
    await bed.signal(run, "paid", 1)
    await bed.cancel(run)
    retried = await bed.retry(run, "failed")
    assert (retried.waiting_reason, retried.retry_from.step_id) == ("approval", "6")
    await bed.approve(retried)
    await bed.advance(60)
    assert (await bed.result(retried)).output[2] == [1, True]
    assert calls == ["charge", "pack", "ship"]


@app.workflow("caught", retries=1)
async def caught(ctx: Context):
    found = []
    for name in ("one", "two"):
        try:
            found.append(await ctx.step(name, work, name))
        except Exception:  # noqa: BLE001 - the test's handler goes on
            found.append(None)
    try:
        found += await ctx.gather(ctx.step("left", work, "left"), ctx.step("right", work, "right"))
    finally:
        await ctx.step("tidy", work, "tidy")
    return found


async def test_caught_failures_are_kept_and_branches_of_a_gather_keep_their_results(bed):
    broken.update(("one", "right"))
    run = await bed.run(caught)
    assert run.status == "failed"
    broken.clear()
    calls.clear()
    retried = await bed.retry(run, "failed")
    assert retried.output == [None, "two", "left", "right"]
    assert calls == ["right", "tidy"]
    assert retried.retry_from.step_id == "3.2.1"
    assert (await bed.retry(run, "2")).output == [None, "two", "left", "right"]


@app.workflow("parent")
async def parent(ctx: Context):
    first = await ctx.spawn(child, name="first")
    second = await ctx.spawn(child, name="second")
    return [await first.result(), await second.result()]


async def test_a_failed_child_is_created_again_and_a_completed_one_is_kept(bed):
    broken.add("second")
    run = await bed.run(parent)
    assert run.error.detail["child_run_id"]
    broken.clear()
    retried = await bed.retry(run, "failed")
    assert retried.output == ["first", "second"]
    assert calls == ["first", "second", "second"]
    assert len((await bed.client.runs.children(retried.run_id)).data) == 1


@app.workflow("asker")
async def asker(ctx: Context):
    return await ctx.wait_for_event("go")


@app.workflow("patient-parent")
async def patient_parent(ctx: Context):
    started = await ctx.spawn(asker)
    await ctx.step("check", work, "check")
    return await started.result()


async def test_a_kept_child_that_still_runs_is_awaited(bed):
    broken.add("check")
    run = await bed.run(patient_parent)
    broken.clear()
    [running] = (await bed.client.runs.children(run.run_id)).data
    retried = await bed.retry(run, "failed")
    assert retried.status == "waiting"
    await bed.signal(running, "go", 7)
    await bed.advance(60)
    assert (await bed.result(retried)).output == 7


@app.workflow("files")
async def files(ctx: Context):
    stored = await ctx.artifact(b"a,b", name="report.csv")
    await ctx.step("made", work, "made")
    await ctx.step("send", work, "send")
    return stored.sha256


async def test_artifacts_stay_readable_until_the_last_run_that_lists_them_is_deleted(bed):
    broken.add("send")
    run = await bed.run(files)
    second = await bed.retry(run, "failed")
    broken.clear()
    third = await bed.retry(second, "failed")
    client = bed.client
    for gone in (run, second):
        await client.runs.delete(gone.run_id)
        await bed.advance(minutes=1)
        assert await client.artifacts.read(third.run_id, "report.csv") == b"a,b"
    [listed] = third.artifacts
    assert listed["uri"] == f"/runs/{third.run_id}/artifacts/report.csv"
    assert not {"content_key", "content_owner"} & listed.keys()


async def test_unknown_steps_and_active_runs_are_refused(bed):
    broken.add("charge")
    run = await bed.run(order)
    with pytest.raises(RunsteadError, match="no step '77'") as refused:
        await bed.retry(run, "77")
    assert (refused.value.status, refused.value.code) == (400, "STEP_NOT_FOUND")
    with pytest.raises(RunsteadError, match="no step 'x'"):
        await bed.retry(run, "x")
    broken.clear()
    completed = await bed.run(child, name="x")
    with pytest.raises(RunsteadError, match="the run completed"):
        await bed.retry(completed, "failed")
    waiting = await bed.run(asker)
    with pytest.raises(RunsteadError) as refused:
        await bed.retry(waiting, "1")
    assert refused.value.code == "RUN_NOT_TERMINAL"


@app.workflow("large")
async def large(ctx: Context):
    text = await ctx.step("read", lambda: "x" * 400_000)
    new = ctx.patched("count")
    await ctx.step("count", work, "count")
    later = ctx.patched("later")
    return [len(text), new, later]


async def test_large_values_and_answers_of_patches_are_kept(bed):
    broken.add("count")
    run = await bed.run(large)
    broken.clear()
    retried = await bed.retry(run, "failed")
    assert retried.output == [400_000, True, True]
    patches = [event.payload["value"]["id"] for event in of(await bed.events(retried), "run.patched")]
    assert patches == ["count", "later"]
    await bed.client.runs.delete(run.run_id)
    await bed.advance(minutes=1)
    assert (await bed.retry(retried, "2")).output == [400_000, True, True]


@app.agent("scribe")
async def scribe(ctx: Context):
    plain = await ctx.ask("Name?", [{"name": "name", "label": "Name", "type": "text"}])
    await ctx.step("sign", work, "sign")
    return plain["name"]


async def test_the_response_to_a_form_is_kept(bed):
    broken.add("sign")
    run = await bed.run("agent:scribe")
    await bed.respond(run, {"name": "Ada"})
    broken.clear()
    retried = await bed.retry(run, "failed")
    assert retried.output == "Ada"
    assert calls == ["sign", "sign"]


@app.agent("secretive")
async def secretive(ctx: Context):
    name = await ctx.step("name", work, "name")
    await ctx.ask("Sign in", [{"name": "token", "label": "Token", "type": "password"}])
    await ctx.step("sign", work, "sign")
    return name


async def test_a_form_with_secrets_is_asked_again(bed):
    broken.add("sign")
    run = await bed.run("agent:secretive")
    await bed.respond(run, {"token": "hunter2"})
    broken.clear()
    retried = await bed.retry(run, "failed")
    assert (retried.waiting_reason, calls) == ("input", ["name", "sign"])
    await bed.respond(retried, {"token": "hunter3"})
    assert (await bed.result(retried)).output == "name"
    assert calls == ["name", "sign", "sign"]


@app.task("plain")
async def plain(ctx: Context):
    calls.append("plain")
    raise RunFailed("no", "NO")


async def test_a_run_without_steps_begins_again(bed):
    run = await bed.run(plain)
    retried = await bed.retry(run, "failed")
    assert (retried.retry_of, retried.retry_from, calls) == (run.run_id, None, ["plain", "plain"])
