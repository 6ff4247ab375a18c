"""The SDK against the application: pause, rename, delete, usage, families, events with keys."""

from datetime import UTC, datetime

import httpx2
import pytest

from runstead.sdk import AsyncClient, RunsteadError


@pytest.fixture
async def sdk(api):
    transport = httpx2.ASGITransport(api.http_app)
    async with AsyncClient(
        "http://runstead.test", api.keys["admin"], project=api.project.slug, transport=transport
    ) as client:
        yield client


async def refused(call):
    with pytest.raises(RunsteadError) as caught:
        await call
    return caught.value.code


async def test_a_run_is_paused_and_resumed(sdk):
    run = (await sdk.runs.create("task:t")).run
    paused = (await sdk.runs.pause(run.run_id)).run
    assert (paused.status, paused.waiting_reason, paused.paused) == ("waiting", "event", True)
    assert (await sdk.runs.unpause(run.run_id)).accepted
    assert not (await sdk.runs.get(run.run_id)).paused
    assert await refused(sdk.runs.resume(run.run_id, type="unpause")) == "TOOL_RESULT_NOT_WAITING"


async def test_a_run_is_named_and_deleted(sdk):
    run = (await sdk.runs.create("task:t", title="Old", labels={"a": "1"})).run
    named = await sdk.runs.update(run.run_id, title="New", if_match=run.etag)
    assert (named.title, named.labels) == ("New", {"a": "1"})
    assert await refused(sdk.runs.update(run.run_id, title="X", if_match=run.etag)) == "PRECONDITION_FAILED"
    assert (await sdk.runs.update(run.run_id, labels=None)).labels == {}
    assert await refused(sdk.runs.delete(run.run_id)) == "RUN_NOT_TERMINAL"
    await sdk.runs.complete(run.run_id)
    assert (await sdk.runs.delete(run.run_id)).deleted
    assert await refused(sdk.runs.get(run.run_id)) == "NOT_FOUND"


async def test_usage_of_a_family_is_read(sdk):
    root = (await sdk.runs.create("task:t")).run
    child = (await sdk.runs.create("task:t", parent_run_id=root.run_id)).run
    await sdk.runs.complete(child.run_id, metadata={"model": "m", "inputTokens": 3, "outputTokens": 4})
    usage = await sdk.runs.usage(root.run_id)
    assert (usage.run.total_tokens, usage.family.total_tokens) == (0, 7)
    assert (usage.family.by_model[0].model, usage.family.usage_capture_status) == ("m", "complete")


async def test_a_projects_usage_is_reported_with_its_cost(sdk):
    run = (await sdk.runs.create("task:t")).run
    metadata = {"provider": "acme", "model": "org/m", "inputTokens": 3, "outputTokens": 4}
    await sdk.runs.complete(run.run_id, metadata=metadata)
    price = (await sdk.prices.put("acme", "*", input=1_000_000, output=2_000_000)).price
    assert (await sdk.prices.list()).data == [price]
    usage = await sdk.projects.usage("target", since=datetime(2026, 1, 1, tzinfo=UTC))
    assert [(group.key, group.total_tokens, group.cost_micros) for group in usage.groups] == [
        ("task:t", 7, 11)
    ]
    assert usage.total.models[0].model == "org/m"
    assert (await sdk.prices.delete("acme", "*")).deleted
    assert (await sdk.prices.list()).data == []


async def test_a_familys_events_are_listed_and_followed(sdk):
    root = (await sdk.runs.create("task:t")).run
    child = (await sdk.runs.create("task:t", parent_run_id=root.run_id)).run
    event = {"type": "A", "idempotency_key": "k"}
    counts = [(await sdk.events.append(child.run_id, [event])).appended_count for _ in range(2)]
    assert counts == [1, 0]
    await sdk.events.append(root.run_id, [{"type": "B"}])
    for run in (root, child):
        await sdk.runs.complete(run.run_id)
    expected = [(child.run_id, 1), (root.run_id, 1), (root.run_id, 2), (child.run_id, 2)]
    page = await sdk.events.list(root.run_id, include_descendants=True)
    assert [(e.run_id, e.event_id) for e in page.data] == expected
    rest = await sdk.events.list(root.run_id, include_descendants=True, cursor=page.data[1].cursor, limit=1)
    assert [(e.run_id, e.event_id) for e in rest.data] == expected[2:3]
    followed = [e async for e in sdk.events.follow(root.run_id, include_descendants=True)]
    assert [(e.run_id, e.event_id) for e in followed] == expected
    assert followed == page.data
    stored = [e async for e in sdk.events.iter(root.run_id, include_descendants=True, event_types=["A", "B"])]
    assert [e.event_type for e in stored] == ["A", "B"]


async def test_events_counts_and_types_are_read(sdk):
    run = (await sdk.runs.create("task:t")).run
    await sdk.events.append(run.run_id, [{"type": "A", "n": 1}, {"type": "A"}])
    assert (await sdk.events.get(run.run_id, 1)).payload == {"type": "A", "n": 1}
    assert await refused(sdk.events.get(run.run_id, 3)) == "NOT_FOUND"
    summary = await sdk.events.summary(run.run_id)
    assert (summary.total, summary.types[0].event_type, summary.types[0].count) == (2, "A", 2)
    types = {one.type: one for one in (await sdk.events.types()).data}
    assert types["TEXT_MESSAGE_CONTENT"].event_class == "delta"
    assert [member.name for member in types["STEP_STARTED"].members] == ["stepName"]


async def test_the_workers_of_a_project_are_listed(sdk):
    made = [(await sdk.workers.register("rust", key)).worker for key in ("b", "a")]
    first = await sdk.workers.list(limit=1)
    assert [one.id for one in first.data] == [made[1].id]
    rest = await sdk.workers.list(cursor=first.page_info.next)
    assert ([one.id for one in rest.data], rest.page_info.next) == ([made[0].id], None)
    assert [one.status for one in rest.data] == ["active"]
    assert (await sdk.workers.list(status="offline")).data == []


async def test_readiness_shows_the_leader(sdk):
    ready = await sdk.health.ready()
    assert (ready.status, ready.leader, ready.term) == ("ready", False, 0)
