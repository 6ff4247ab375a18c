"""`POST /runs/{run_id}/retry`: with other members, and from a step."""

import asyncio

import pytest

from runstead.commands import retry
from runstead.core import limits
from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.loops.artifact_gc import collect_artifacts

pytestmark = pytest.mark.postgres


def step(kind, step_id, **members):
    return {"type": f"STEP_{kind}", "stepName": f"step {step_id}", "stepId": step_id, **members}


async def ended(api, *events, status="failed", **members):
    """A run with these events of its worker, which has ended."""
    taken, _ = await api.claimed(**members)
    path, token = f"/runs/{taken['run_id']}", {"X-Lease-Token": taken["lease_token"]}
    await api.send("PUT", f"{path}/artifacts/a.txt", b"abc", headers={"Content-Type": "text/plain", **token})
    for start in range(0, len(events), limits.events_per_append_max):
        part = events[start : start + limits.events_per_append_max]
        await api.post(f"{path}/events", {"events": part}, headers=token)
    await api.post(f"{path}/complete", {"status": status}, headers=token)
    return await api.run(taken["run_id"])


@pytest.fixture
async def artifacts(api, tmp_path):
    api.app.artifacts = FilesystemArtifacts(tmp_path / "artifacts")
    await api.app.artifacts.open()


THREE = [
    event
    for number in "123"
    for event in (step("STARTED", number), step("FINISHED", number, result=f"result {number}"))
]


async def log_of(api, run):
    return (await api.get(f"/runs/{run['run_id']}/events?limit=500"))["data"]


async def test_the_new_log_begins_with_the_results_before_the_step(api):
    value = {"type": "CUSTOM", "name": "run.value", "value": {"name": "stage", "value": 1}}
    run = await ended(api, *THREE[:2], value, *THREE[2:])
    body = {"from_step": "2", "input": [1], "config": {"a": 1}, "title": "T", "labels": {"b": "c"}}
    new = (await api.post(f"/runs/{run['run_id']}/retry", body, 202))["run"]
    assert {name: new[name] for name in ("input", "config", "title", "labels")} == {
        name: value for name, value in body.items() if name != "from_step"
    }
    source = {"run_id": run["run_id"], "step_id": "2", "event_id": 3}
    assert (new["retry_of"], new["retry_from"], new["status"]) == (run["run_id"], source, "pending")
    assert new["latest_external_event_sequence"] == 0
    log = await log_of(api, new)
    mark = {"type": "CUSTOM", "name": "run.retry_from", "value": source}
    assert [event["payload"] for event in log] == [*THREE[:2], value, mark]
    assert {event["source"] for event in log} == {"retry"}
    [stored] = (await api.get(f"/runs/{new['run_id']}/values"))["data"]
    assert (stored["value"], stored["event_id"]) == (1, 3)
    assert (await api.run(new["run_id"])) == new
    [listed] = [one for one in (await api.get("/runs"))["data"] if one["run_id"] == new["run_id"]]
    assert listed["retry_from"] == source
    plain = (await api.post(f"/runs/{run['run_id']}/retry", status=202))["run"]
    assert (plain["retry_from"], plain["latest_event_id"]) == (None, 0)


async def test_failed_names_the_step_that_failed(api):
    failed = [*THREE[:3], step("FINISHED", "2", error={"message": "no"})]
    for events, first in (
        (failed, "2"),
        (THREE[:3], "2"),
        (THREE[:2], "2"),
        ([*THREE, {"type": "CUSTOM", "name": "run.failed_step", "value": {"step_id": "2"}}], "2"),
    ):
        run = await ended(api, *events)
        new = (await api.post(f"/runs/{run['run_id']}/retry", {"from_step": "failed"}, 202))["run"]
        assert new["retry_from"]["step_id"] == first
        assert [event["payload"] for event in (await log_of(api, new))[:-1]] == THREE[:2]


async def test_steps_that_a_retry_of_the_handler_reset_are_not_copied(api):
    retried = {"type": "CUSTOM", "name": "run.retried", "value": {"step_id": "2"}}
    run = await ended(api, *THREE, retried, *THREE[2:4])
    new = (await api.post(f"/runs/{run['run_id']}/retry", {"from_step": "failed"}, 202))["run"]
    assert (new["retry_from"]["step_id"], len(await log_of(api, new))) == ("3", 5)
    await api.refused(400, "STEP_NOT_FOUND", "POST", f"/runs/{run['run_id']}/retry", {"from_step": "3"})


async def test_a_step_id_that_is_no_number_of_a_handler_is_not_read(api):
    """Python refuses to read a number of so many digits."""
    run = await ended(api, *THREE[:2], step("FINISHED", "9" * 5_000), step("FINISHED", "٣"), *THREE[2:3])
    for from_step in ("2", "failed"):
        new = (await api.post(f"/runs/{run['run_id']}/retry", {"from_step": from_step}, 202))["run"]
        assert (new["retry_from"]["step_id"], len(await log_of(api, new))) == ("2", 3)


async def test_a_copy_is_bounded(api, monkeypatch):
    run = await ended(api, *THREE)
    path = f"/runs/{run['run_id']}/retry"
    monkeypatch.setattr(limits, "retry_events_max", 3)
    problem = await api.refused(409, "RETRY_TOO_LARGE", "POST", path, {"from_step": "3"})
    assert "at most 3 events" in problem["detail"]
    await api.post(path, {"from_step": "2"}, 202)
    monkeypatch.setattr(limits, "retry_bytes_max", 10)
    await api.refused(409, "RETRY_TOO_LARGE", "POST", path, {"from_step": "2"})


async def test_a_long_log_is_copied_whole(api):
    steps = [step("FINISHED", str(number), result="x" * 100) for number in range(1, 1_201)]
    run = await ended(api, *steps)
    new = (await api.post(f"/runs/{run['run_id']}/retry", {"from_step": "failed"}, 202))["run"]
    assert (new["latest_event_id"], new["retry_from"]["step_id"]) == (1_201, "1201")


async def test_a_run_that_was_deleted_while_its_log_was_read_is_not_retried_as_another_of_its_id(
    api, monkeypatch
):
    run = await ended(api, *THREE)
    path, real = f"/runs/{run['run_id']}", retry._log_before

    async def read_and_replaced(*arguments):
        log = await real(*arguments)
        assert (await api.send("DELETE", path, by="admin")).status_code == 200
        await api.create(api.task(public_id=run["run_id"]))
        return log

    monkeypatch.setattr(retry, "_log_before", read_and_replaced)
    await api.refused(404, "NOT_FOUND", "POST", f"{path}/retry", {"from_step": "2"})


async def test_a_repeat_with_the_same_key_creates_no_second_run(api):
    run = await ended(api, *THREE)
    key = {"Idempotency-Key": "again"}
    one, two = await asyncio.gather(
        *(api.send("POST", f"/runs/{run['run_id']}/retry", {"from_step": "2"}, headers=key) for _ in range(2))
    )
    made = {
        answer.json()["run"]["run_id"] if answer.status_code == 202 else answer.json()["code"]
        for answer in (one, two)
    }
    again = (await api.post(f"/runs/{run['run_id']}/retry", {"from_step": "2"}, 202, headers=key))["run"]
    assert made - {"IDEMPOTENCY_KEY_IN_USE"} == {again["run_id"]}


async def test_shared_contents_are_removed_with_the_last_run_that_lists_them(api, artifacts):
    run = await ended(api, *THREE)
    new = (await api.post(f"/runs/{run['run_id']}/retry", {"from_step": "2"}, 202))["run"]
    await api.send("DELETE", f"/runs/{run['run_id']}", by="admin")
    assert await collect_artifacts(api.app) == 0
    read = await api.send("GET", f"/runs/{new['run_id']}/artifacts/a.txt")
    assert read.content == b"abc"
    assert await api.store.quotas.artifact_bytes(api.project.id) == 3
    await api.post(f"/runs/{new['run_id']}/cancel")
    await api.send("DELETE", f"/runs/{new['run_id']}", by="admin")
    assert await collect_artifacts(api.app) == 2
    assert await api.store.quotas.artifact_bytes(api.project.id) == 0
    assert await collect_artifacts(api.app) == 0


async def test_the_retry_of_an_agents_run_has_another_start_payload_and_no_config(api):
    conversation = await api.conversation()
    run = await api.create(api.agent(conversation, request={"input": {"messages": []}}))
    path = f"/runs/{run['run_id']}"
    await api.post(f"{path}/cancel")
    new = (await api.post(f"{path}/retry", {"input": {"messages": [], "context": ["x"]}}, 202))["run"]
    assert new["conversation_id"] == conversation
    await api.refused(400, "INVALID_REQUEST", "POST", f"{path}/retry", {"config": {"a": 1}})
    large = {"input": {"messages": ["x" * limits.request_snapshot_bytes_max]}}
    await api.refused(400, "REQUEST_SNAPSHOT_TOO_LARGE", "POST", f"{path}/retry", large)


async def test_refusals(api):
    run = await ended(api, *THREE, status="completed")
    path = f"/runs/{run['run_id']}/retry"
    problem = await api.refused(400, "STEP_NOT_FOUND", "POST", path, {"from_step": "9"})
    assert problem["errors"] == [{"path": "$.from_step", "message": "not a step of the run"}]
    await api.refused(400, "STEP_NOT_FOUND", "POST", path, {"from_step": "failed"})
    await api.refused(400, "INVALID_REQUEST", "POST", path, {"from_step": ""})
    await api.refused(403, "FORBIDDEN", "POST", path, {"from_step": "1"}, by="read")
    await api.refused(404, "NOT_FOUND", "POST", path, {"from_step": "1"}, by="other")
    forged = {"type": "CUSTOM", "name": "run.retry_from", "value": {"run_id": "x", "step_id": "1"}}
    taken, _ = await api.claimed()
    token = {"X-Lease-Token": taken["lease_token"]}
    events = f"/runs/{taken['run_id']}/events"
    await api.refused(403, "EVENT_RESERVED", "POST", events, {"events": [forged]}, headers=token)
    await api.refused(409, "RUN_NOT_TERMINAL", "POST", f"/runs/{taken['run_id']}/retry", {"from_step": "1"})
