"""`POST /projects/{ref}/events`: the event bus of a project."""

import asyncio

import pytest

from runstead.commands import bus_events
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import DEFAULT_SCOPES, Principal
from runstead.core.identity.tenant import SERVER, tenant
from runstead.core.runs import bus_event
from runstead.core.runs.bus_event import BusEvent

pytestmark = pytest.mark.postgres

PATH = "/projects/inventory/events"


async def waiting(api, name="paid", match=None, call="c-1"):
    """Return the id of a run that waits for an event."""
    run_id = (await api.create())["run_id"]
    body = {"reason": "event", "tool_call_id": call, "event": {"name": name, "match": match}}
    assert (await api.post(f"/runs/{run_id}/wait", body))["run"]["status"] == "waiting"
    return run_id


async def publish(api, name="paid", data=None, **members):
    return await api.post(PATH, {"name": name, "data": data, **members}, status=202)


async def status(api, run_id):
    return (await api.get(f"/runs/{run_id}"))["status"]


async def test_an_event_resumes_exactly_the_runs_that_wait_for_it_with_a_match(api):
    matching = [
        await waiting(api),
        await waiting(api, match={"order.id": "o-7"}),
        await waiting(api, match={"order.lines.0.sku": "tea", "order.id": "o-7"}),
        await waiting(api, match={"sum": 12}),
    ]
    others = [
        await waiting(api, "sent"),
        await waiting(api, match={"order.id": "o-8"}),
        await waiting(api, match={"order.id": "o-7", "sum": 13}),
        await waiting(api, match={"order.missing": None}),
    ]
    data = {"order": {"id": "o-7", "lines": [{"sku": "tea"}]}, "sum": 12.0}
    published = await publish(api, data=data, occurred_at="2026-03-20T12:00:00Z")
    assert published == {"event_id": published["event_id"], "resumed": 4, "started": 0}
    assert [await status(api, run_id) for run_id in (*matching, *others)] == ["running"] * 4 + ["waiting"] * 4
    [event] = (await api.get(f"/runs/{matching[1]}/events"))["data"]
    assert event["source"] == "server"
    assert event["payload"]["value"] == {
        "type": "event",
        "tool_call_id": "c-1",
        "result": data,
        "is_error": False,
        "signal_id": published["event_id"],
        "occurred_at": "2026-03-20T12:00:00.000Z",
    }


async def test_a_wait_that_begins_after_the_event_is_not_resumed_by_it(api):
    assert (await publish(api))["resumed"] == 0
    run_id = await waiting(api)
    assert (await publish(api))["resumed"] == 1
    body = {"reason": "event", "tool_call_id": "c-2", "event": {"name": "paid"}}
    assert (await api.post(f"/runs/{run_id}/wait", body))["run"]["status"] == "waiting"


async def test_a_wait_that_has_ended_is_not_found(api):
    cancelled, resumed, signalled = [await waiting(api) for _ in range(3)]
    await api.post(f"/runs/{cancelled}/cancel", {})
    await api.post(f"/runs/{resumed}/resume", {"type": "event", "tool_call_id": "c-1", "result": 1})
    await api.post(f"/runs/{signalled}/signals", {"name": "paid"}, status=202)
    assert (await publish(api))["resumed"] == 0


async def test_a_repeated_id_publishes_nothing_for_a_day(api):
    await waiting(api)
    first = await publish(api, data=1, id="payment-77")
    assert first == {"event_id": "payment-77", "resumed": 1, "started": 0}
    await waiting(api)
    assert await publish(api, data=1, id="payment-77") == {**first, "duplicate": True}
    await api.refused(
        409, "IDEMPOTENCY_KEY_REUSED", "POST", PATH, {"name": "paid", "data": 2, "id": "payment-77"}
    )
    api.clock.advance(limits.bus_event_kept_s)
    assert await api.app.store.bus_events.prune(10) == 1
    assert (await publish(api, data=2, id="payment-77"))["resumed"] == 1
    key = {"Idempotency-Key": "k-1"}
    made = await api.post(PATH, {"name": "paid"}, status=202, headers=key)
    again = await api.post(PATH, {"name": "paid"}, status=202, headers=key)
    assert again == {**made, "duplicate": True}


async def test_a_delivery_that_the_loop_continues_is_the_work_of_its_project(api, monkeypatch):
    """Otherwise its runs would be resumed as the server's own work, and hold up its loops."""
    await waiting(api)
    await api.store.bus_events.add(
        BusEvent(
            project_id=api.project.id,
            event_id="e-1",
            name="paid",
            data=b"null",
            digest=b"",
            occurred_at=None,
            created_at=api.clock(),
            kept_until=api.clock(),
        ),
        0,
    )
    tenants, real = [], bus_events._resume_one

    async def recorded(*arguments):
        tenants.append(tenant.get())
        return await real(*arguments)

    monkeypatch.setattr(bus_events, "_resume_one", recorded)
    tenant.set(SERVER)  # as in a loop: the requests above ran in this task
    assert await bus_events.deliver_due(api.app) == 1
    assert (tenants, tenant.get()) == ([api.project.id], SERVER)


async def test_an_idempotency_key_belongs_to_its_caller(api):
    key = {"Idempotency-Key": "payment-77"}
    await waiting(api)
    first = await api.post(PATH, {"name": "paid"}, status=202, headers=key)
    await waiting(api)
    other = await api.post(PATH, {"name": "paid"}, status=202, headers=key, by="admin")
    assert (other["event_id"] != first["event_id"], other["resumed"]) == (True, 1)
    for wrong in ("", "k" * (limits.idempotency_key_chars_max + 1)):
        headers = {"Idempotency-Key": wrong}
        await api.refused(400, "INVALID_REQUEST", "POST", PATH, {"name": "paid"}, headers=headers)


async def test_an_event_starts_a_run_of_each_matching_trigger_with_its_data_as_input(api):
    async def trigger(event, target="task:ship"):
        made = await api.post(
            "/projects/inventory/triggers", {"target": target, "event": event}, 201, by="admin"
        )
        return made["trigger"]

    all_of_them = await trigger({"name": "paid"})
    assert all_of_them["event"] == {"name": "paid", "match": None}
    matching = await trigger({"name": "paid", "match": {"order.id": 7}}, "agent:clerk")
    assert matching["event"]["match"] == {"order.id": 7}
    other = await trigger({"name": "paid", "match": {"order.id": 8}})
    disabled = await trigger({"name": "paid"})
    await api.send("PATCH", f"/projects/inventory/triggers/{disabled['id']}", {"enabled": False}, by="admin")
    published = await publish(api, data={"order": {"id": 7}}, id="e-1")
    assert published == {"event_id": "e-1", "resumed": 0, "started": 2}
    runs = {run["trigger_id"]: run for run in (await api.get("/runs"))["data"]}
    assert runs.keys() == {all_of_them["id"], matching["id"]}
    assert runs[all_of_them["id"]]["input"] == {"order": {"id": 7}}
    response = await api.send(
        "PATCH", f"/projects/inventory/triggers/{other['id']}", {"event": {"name": "sent"}}, by="admin"
    )
    assert response.json()["trigger"]["event"] == {"name": "sent", "match": None}
    assert (await publish(api, "sent"))["started"] == 1


async def test_a_crash_between_storing_an_event_and_waking_loses_no_run_and_wakes_none_twice(
    api, monkeypatch
):
    """The server stops after the event is stored, and again in the middle of the delivery."""
    runs = [await waiting(api, match={"order": n % 2}) for n in range(6)]
    await api.post(
        "/projects/inventory/triggers", {"target": "task:ship", "event": {"name": "paid"}}, 201, by="admin"
    )
    real, woken = bus_events._resume_one, []

    class Stopped(BaseException):
        pass

    async def stops(app, event, data, wait):
        if len(woken) == 2:
            raise Stopped
        woken.append(wait.run_id)
        return await real(app, event, data, wait)

    monkeypatch.setattr(limits, "bus_resumes_at_once_max", 1)
    monkeypatch.setattr(bus_events, "_resume_one", stops)
    principal = Principal("api_key", "k", {api.project.id: DEFAULT_SCOPES})
    new = bus_events.NewEvent(name="paid", data=b'{"order":1}', id="e-1")
    with pytest.raises(Stopped):
        await bus_events.publish(api.app, principal, "inventory", new)
    monkeypatch.setattr(bus_events, "_resume_one", real)
    # The first of them waits again, and must not get the same event again.
    assert woken == runs[1:4:2]
    body = {"reason": "event", "tool_call_id": "c-2", "event": {"name": "paid"}}
    await api.post(f"/runs/{runs[1]}/wait", body)
    assert await bus_events.deliver_due(api.app) == 0  # another server may still be at work
    api.clock.advance(limits.bus_delivery_s)
    assert await bus_events.deliver_due(api.app) == 1
    states = [await status(api, run_id) for run_id in runs]
    assert states == ["waiting", "waiting", "waiting", "running", "waiting", "running"]
    for run_id in runs[1::2]:
        assert len((await api.get(f"/runs/{run_id}/events"))["data"]) == 1
    assert len((await api.get("/runs?kind=task&target=task:ship"))["data"]) == 1
    api.clock.advance(limits.bus_delivery_s)
    assert await bus_events.deliver_due(api.app) == 0
    assert (await publish(api, data={"order": 1}, id="e-1"))["duplicate"]


async def test_the_same_event_sent_twice_at_once_is_delivered_once(api):
    runs = [await waiting(api) for _ in range(3)]
    answers = await asyncio.gather(*(publish(api, id="e-1") for _ in range(3)))
    assert sum(not one.get("duplicate") for one in answers) == 1
    for run_id in runs:
        assert len((await api.get(f"/runs/{run_id}/events"))["data"]) == 1


async def test_more_waits_than_a_request_wakes_are_left_to_the_loop(api, monkeypatch):
    monkeypatch.setattr(limits, "bus_event_resumes_max", 2)
    monkeypatch.setattr(limits, "bus_waits_per_page_max", 2)
    runs = [await waiting(api) for _ in range(5)]
    published = await publish(api, id="e-1")
    assert (published["resumed"], published["pending"]) == (2, True)
    assert await bus_events.deliver_due(api.app) == 1
    assert await bus_events.deliver_due(api.app) == 1
    assert [await status(api, run_id) for run_id in runs] == ["running"] * 5
    assert (await publish(api, id="e-1")) == {
        "event_id": "e-1",
        "resumed": 5,
        "started": 0,
        "duplicate": True,
    }


async def test_a_start_that_a_busy_store_refuses_is_repeated(api, monkeypatch):
    await api.post(
        "/projects/inventory/triggers", {"target": "task:ship", "event": {"name": "paid"}}, 201, by="admin"
    )

    async def full(*_arguments):
        return Error("QUOTA_REACHED", "The project may have 1 pending run", retry_after_s=1)

    with monkeypatch.context() as patched:
        patched.setattr(api.app.quotas, "refuse_more_runs", full)
        published = await publish(api)
    assert (published["started"], published["pending"]) == (0, True)
    api.clock.advance(limits.bus_delivery_s)
    assert await bus_events.deliver_due(api.app) == 1
    assert len((await api.get("/runs"))["data"]) == 1


async def test_waits_are_found_by_their_first_condition_and_not_by_reading_all(api, monkeypatch):
    """1 of 20 waits matches: the others are not read."""
    for number in range(20):
        await waiting(api, match={"order": number})
    read = []
    real = bus_event.match_in
    monkeypatch.setattr(bus_event, "match_in", lambda stored: read.append(stored) or real(stored))
    assert (await publish(api, data={"order": 7}))["resumed"] == 1
    assert len(read) == 1


async def test_refusals(api):
    run_id = (await api.create())["run_id"]
    for body in (
        {"reason": "event", "event": {"name": "paid", "match": {str(n): n for n in range(9)}}},
        {"reason": "event", "event": {"name": "paid", "match": {"a": "x" * 254}}},
        {"reason": "event", "open_events": [{"name": "a", "tool_call_id": "c", "match": {"a": "x" * 254}}]},
        {"reason": "event", "event": {"name": "paid", "match": {"": 1}}},
    ):
        await api.refused(400, "INVALID_REQUEST", "POST", f"/runs/{run_id}/wait", body)
    too_long = {"name": "paid", "data": "x" * limits.bus_event_data_bytes_max}
    await api.refused(400, "INVALID_REQUEST", "POST", PATH, too_long)
    await api.refused(400, "INVALID_REQUEST", "POST", PATH, {"name": ""})
    await api.refused(403, "FORBIDDEN", "POST", PATH, {"name": "paid"}, by="read")
    await api.refused(404, "NOT_FOUND", "POST", PATH, {"name": "paid"}, by="other")
