"""Who wrote an event, and the events that only the server or the holder of the lease may write."""

import asyncio

import msgspec
import pytest

from runstead.core.runs.event import resumed
from tests.support.store_driver import push_service

from .pushed import PAIR

pytestmark = pytest.mark.postgres

NOTE = {"type": "CUSTOM", "name": "note", "value": 1}
APPROVED = msgspec.json.decode(resumed("approval", "approval:1", {"approved": True}).payload)
STEP = {"type": "STEP_FINISHED", "stepName": "pay", "stepId": "1", "result": "paid"}
FREE_STEP = {"type": "STEP_FINISHED", "stepName": "pay"}
RESERVED = [
    APPROVED,
    STEP,
    {"type": "STEP_STARTED", "stepName": "pay", "stepId": "1"},
    {"type": "STEP_FINISHED", "stepName": "pay", "stepId": 1},
    {"type": "CUSTOM", "name": "run.progress", "value": {"fraction": 1}},
    {"type": "CUSTOM", "name": "run.value", "value": {"name": "total", "value": 1}},
]


@pytest.fixture
async def tokens(api):
    await api.store.signing_keys.add(PAIR, only_first=True)
    await api.store.push_services.register(push_service("svc", reach=(api.project.id,)))

    async def make(run_id, kind="run_event_token"):
        named = {"user_id": "ada", "service_id": "svc", "issuer": "push_service:svc"}
        named["project_id"] = api.project.id
        return await getattr(api.app.keyring, kind)(**named, run_id=run_id)

    return make


def lease(taken):
    return {"headers": {"X-Lease-Token": taken["lease_token"]}}


async def reserved(api, path, *events, **sent):
    problem = await api.refused(403, "EVENT_RESERVED", "POST", path, {"events": list(events)}, **sent)
    assert problem["errors"] == [{"path": f"$.events[{len(events) - 1}]", "message": "reserved"}]


async def sources(api, run_id):
    return [event["source"] for event in (await api.get(f"/runs/{run_id}/events"))["data"]]


@pytest.mark.parametrize("kind", ["run_event_token", "service_token"])
async def test_a_token_of_a_push_service_cannot_approve_a_waiting_run(api, tokens, kind):
    """The token gets 403 on /resume where it may append only; the approval cannot be forged as an event either."""
    run, path = await api.agent_run()
    token = await tokens(run["run_id"], kind)
    for where in (f"{path}/events", f"/runs/{run['run_id']}/events"):
        for event in RESERVED:
            await reserved(api, where, event, by=token)
            await reserved(api, where, NOTE, FREE_STEP, event, by=token)
    assert await sources(api, run["run_id"]) == []
    await api.post(f"{path}/events", {"events": [NOTE, FREE_STEP]}, by=token)
    assert await sources(api, run["run_id"]) == ["writer", "writer"]


async def test_the_durable_log_cannot_be_forged_without_the_lease(api):
    taken, _ = await api.claimed()
    path = f"/runs/{taken['run_id']}/events"
    for event in RESERVED:
        await reserved(api, path, event)
        # The attempt can be guessed, so it proves nothing.
        await api.refused(403, "EVENT_RESERVED", "POST", path, {"events": [event], "attempt": 1})
    guessed = {"headers": {"X-Lease-Token": "0" * 32}}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", path, {"events": [STEP]}, **guessed)
    assert await sources(api, taken["run_id"]) == []


async def test_a_run_that_no_worker_holds_has_no_durable_log(api):
    run = await api.create()
    for event in RESERVED:
        await reserved(api, f"/runs/{run['run_id']}/events", event)


async def test_the_holder_of_the_lease_writes_the_durable_log_and_no_approval(api):
    taken, _ = await api.claimed()
    path = f"/runs/{taken['run_id']}/events"
    await api.post(path, {"events": RESERVED[1:]}, **lease(taken))
    await reserved(api, path, STEP, APPROVED, **lease(taken))
    assert await sources(api, taken["run_id"]) == ["worker"] * 5


async def test_the_token_of_the_worker_that_holds_the_lease_writes_the_durable_log(api):
    run = await api.create(api.task("task:held"))
    path = f"/runs/{run['run_id']}/events"
    worker, token = await api.worker()
    _, other = await api.worker()
    await api.refused(403, "FORBIDDEN", "POST", path, {"events": [NOTE]}, by=token)
    assert (await api.claim(worker, targets=["task:held"]))["run"]["run_id"] == run["run_id"]
    await api.refused(403, "FORBIDDEN", "POST", path, {"events": [NOTE]}, by=other)
    await api.post(path, {"events": [STEP, NOTE]}, by=token)
    await reserved(api, path, APPROVED, by=token)
    assert await sources(api, run["run_id"]) == ["worker", "worker"]
    await api.post(f"{worker}/runs/{run['run_id']}/release", {})
    await api.refused(403, "FORBIDDEN", "POST", path, {"events": [NOTE]}, by=token)


async def test_a_renewal_shows_the_lease_token_to_its_holder_only(api):
    run = await api.create(api.task("task:renewed"))
    worker, token = await api.worker()
    taken = (await api.claim(worker, targets=["task:renewed"]))["run"]
    path, body = f"{worker}/runs/{run['run_id']}/lease", {"lease_duration_seconds": 60}
    assert (await api.post(path, body))["run"]["lease_token"] is None
    for proof in (lease(taken), {"by": token}):
        assert (await api.post(path, body, **proof))["run"]["lease_token"] == taken["lease_token"]


async def test_every_list_shows_the_source_of_an_event(api):
    run, path = await api.agent_run()
    run_id = run["run_id"]
    await api.append(run_id, NOTE)
    await api.complete(run_id)
    assert await sources(api, run_id) == ["caller", "server"]
    assert (await api.get(f"/runs/{run_id}/events/2"))["source"] == "server"
    spoken = await api.get(f"{path}/events")
    assert [event["source"] for event in spoken["data"]] == ["caller", "server"]
    family = await api.get(f"/runs/{run_id}/events?include_descendants=true")
    assert [event["source"] for event in family["data"]] == ["caller", "server"]


async def test_a_stream_shows_the_source_of_each_event_beside_its_data(api):
    run = await api.create()
    await api.append(run["run_id"], NOTE)
    await api.complete(run["run_id"])
    async with asyncio.timeout(30):
        frames = (await api.send("GET", f"/runs/{run['run_id']}/stream")).text
    assert "id: 1\nevent: Custom\nsource: caller\ndata: {" in frames
    assert "id: 2\nevent: RunFinished\nsource: server\ndata: {" in frames


async def test_an_answer_to_a_wait_comes_from_the_server(api):
    taken, _ = await api.claimed()
    path = f"/runs/{taken['run_id']}"
    await api.post(f"{path}/wait", {"reason": "approval", "tool_call_id": "approval:1"}, **lease(taken))
    await api.post(f"{path}/resume", {"type": "approval", "tool_call_id": "approval:1", "result": True})
    assert await sources(api, taken["run_id"]) == ["server"]
