"""Single events, counts of events and the known types. Pages of events are in test_events.py."""

import pytest

from runstead.core.runs.event import DELTA_TYPES, TERMINAL_TYPES

pytestmark = pytest.mark.postgres

PRIVATE = {"type": "AGENT_RUN_MODEL_CALL_CONTEXT", "prompt": "secret"}


async def test_one_event_is_read_by_its_number(api):
    run = await api.create()
    events = f"/runs/{run['run_id']}/events"
    await api.append(
        run["run_id"], {"type": "A", "n": 1}, PRIVATE, {"type": "B"}, expected_previous_event_id=0
    )
    listed = (await api.get(events))["data"]
    assert [await api.get(f"{events}/{n}") for n in (1, 3)] == listed
    for nothing in ("0", "2", "4", "-1", "x", "1.0", "9" * 30, "٣", "01x"):
        await api.refused(404, "NOT_FOUND", "GET", f"{events}/{nothing}")
    await api.refused(404, "NOT_FOUND", "GET", "/runs/unknown/events/1")


async def test_events_are_counted_by_type(api):
    run = await api.create()
    summary = f"/runs/{run['run_id']}/events/summary"
    empty = await api.get(summary)
    assert empty == {
        "run_id": run["run_id"],
        "total": 0,
        "first_event_at": None,
        "last_event_at": None,
        "types": [],
    }
    await api.append(run["run_id"], {"type": "A"}, PRIVATE, {"type": "B"}, expected_previous_event_id=0)
    api.clock.advance(5)
    await api.append(run["run_id"], {"type": "B"})
    answer = await api.get(summary)
    assert answer["total"] == 3
    assert [(one["event_type"], one["count"]) for one in answer["types"]] == [("B", 2), ("A", 1)]
    first, last = (one["created_at"] for one in (await api.get(f"/runs/{run['run_id']}/events"))["data"][::2])
    assert (answer["first_event_at"], answer["last_event_at"]) == (first, last)
    assert (answer["types"][0]["first_event_at"], answer["types"][0]["last_event_at"]) == (first, last)
    assert answer["types"][1]["last_event_at"] == first


async def test_the_event_types_are_listed_with_their_members(api):
    types = {one["type"]: one for one in (await api.get("/runs/event-types"))["data"]}
    assert len(types) == 24
    assert {name for name, one in types.items() if one["class"] == "delta"} == DELTA_TYPES
    assert {name for name, one in types.items() if not one["appendable"]} == TERMINAL_TYPES
    members = {name: {member["name"] for member in one["members"]} for name, one in types.items()}
    assert members["TOOL_CALL_START"] >= {"toolCallId", "toolCallName"}
    assert members["TOOL_CALL_RESULT"] == {"messageId", "toolCallId", "content", "result", "isError"}
    assert members["STEP_STARTED"] == {"stepName"}
    [code] = [member for member in types["RUN_ERROR"]["members"] if member["name"] == "code"]
    assert code == {"name": "code", "type": "string", "required": False}


async def test_a_run_cannot_have_the_id_event_types(api):
    problem = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", api.task(public_id="event-types"))
    assert problem["errors"][0]["path"] == "$.public_id"
    await api.refused(404, "NOT_FOUND", "GET", "/runs/event-types/events")


def keyed(key, n=1):
    return {"type": "CUSTOM", "idempotency_key": key, "n": n}


async def test_an_event_with_a_key_is_stored_once(api):
    run, path = await api.agent_run()
    for events in (f"{path}/events", f"/runs/{run['run_id']}/events"):
        answer = await api.post(events, {"events": [keyed("a"), keyed("b"), {"type": "A"}]})
    assert (answer["appended_count"], answer["latest_event_id"]) == (1, 4)
    assert answer["latest_external_event_sequence"] == 4
    assert await api.event_types(run["run_id"]) == ["CUSTOM", "CUSTOM", "A", "A"]
    again = {"events": [keyed("b"), keyed("c"), keyed("c")], "expected_previous_event_id": 4}
    assert (await api.post(f"{path}/events", again))["appended_count"] == 1
    assert (await api.post(f"{path}/events", again))["appended_count"] == 0


async def test_an_event_key_identifies_one_event_of_one_run(api):
    one, two = await api.create(), await api.create()
    await api.append(one["run_id"], keyed("a"))
    await api.append(two["run_id"], keyed("a", 2))
    body = {"events": [{"type": "A"}, keyed("a", 2)]}
    problem = await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", f"/runs/{one['run_id']}/events", body)
    assert "idempotency_key" in problem["detail"]
    assert len(await api.event_types(one["run_id"])) == 1


async def test_an_events_key_has_bounds(api):
    run = await api.create()
    path = f"/runs/{run['run_id']}/events"
    for key in ("", "k" * 256, 7, {}, "a\u0000b"):
        problem = await api.refused(
            400, "INVALID_REQUEST", "POST", path, {"events": [{"type": "A"}, keyed(key)]}
        )
        assert problem["errors"][0]["path"] == "$.events[1].idempotency_key"
    answer = await api.post(path, {"events": [keyed("k" * 255), keyed(None), keyed(None)]})
    assert answer["appended_count"] == 3


async def test_a_repeat_with_a_key_is_answered_even_after_the_end(api):
    run, path = await api.agent_run()
    await api.append(run["run_id"], keyed("a"))
    await api.complete(run["run_id"])
    assert (await api.post(f"{path}/events", {"events": [keyed("a")]}))["appended_count"] == 0
    await api.refused(400, "EVENT_RUN_TERMINAL", "POST", f"{path}/events", {"events": [keyed("b")]})
