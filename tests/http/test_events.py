"""`…/events`: append and read events, for every kind of run and in its conversation."""

import asyncio

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres

MISMATCH = "External run event cursor mismatch"
WAITING = "Cannot append external events while the run is waiting for a tool result"
A, B, C, D = ({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": letter} for letter in "abcd")
PRIVATE = {"type": "AGENT_RUN_MODEL_CALL_CONTEXT", "prompt": "secret"}


async def start(api, *events):
    """Create a task run with these events. Returns its path."""
    path = f"/runs/{(await api.create())['run_id']}/events"
    if events:
        await api.post(path, {"events": list(events)})
    return path


async def letters(api, path):
    return "".join(event["payload"]["delta"] for event in (await api.get(path))["data"])


async def test_an_append_to_a_run_answers_with_the_run(api):
    path = await start(api)
    answer = await api.post(path, {"events": [A, B]})
    run = await api.stored(path.removesuffix("/events").removeprefix("/runs/"))
    expected = {"run": run, "latest_event_id": 2, "latest_external_event_sequence": 2, "appended_count": 2}
    assert answer == expected
    page = await api.get(path)
    at = "2026-03-20T12:00:00.000Z"
    assert page == {
        "data": [
            {
                "event_id": number,
                "event_type": B["type"],
                "payload": one,
                "created_at": at,
                "source": "caller",
            }
            for number, one in ((1, A), (2, B))
        ],
        "page_info": {"self": "0", "first": None, "next": None, "prev": None},
    }


async def test_an_append_in_a_conversation_answers_with_the_projection(api):
    _, path = await api.agent_run()
    answer = await api.post(f"{path}/events", {"events": [A]})
    assert answer["run"] == await api.get(path)
    assert (answer["latest_event_id"], answer["latest_external_event_sequence"]) == (1, 1)
    page = await api.get(f"{path}/events")
    assert page["data"] == [
        {"event_id": 1, "event_type": "TEXT_MESSAGE_CONTENT", "event": A, "source": "caller"}
    ]
    assert list(page["page_info"]) == ["self", "first", "next", "prev"]


@pytest.mark.parametrize("kind", ["task", "workflow", "eval", "agent"])
async def test_every_kind_of_run_has_events(driver, kind):
    if kind == "agent":
        run, _ = await driver.agent_run()
    else:
        run = await driver.create(driver.task(f"{kind}:x") | {"kind": kind})
    assert (await driver.append(run["run_id"], A))["appended_count"] == 1
    await driver.complete(run["run_id"])
    assert await driver.event_types(run["run_id"]) == ["TEXT_MESSAGE_CONTENT", "RUN_FINISHED"]


async def test_the_servers_events_are_numbered_but_not_counted_as_external(api):
    run_id = (await api.create())["run_id"]
    await api.append(run_id, A)
    await api.post(f"/runs/{run_id}/wait", {"reason": "tool", "tool_call_id": "t"})
    await api.post(f"/runs/{run_id}/resume", {"type": "tool_result", "tool_call_id": "t"})
    answer = await api.append(run_id, B)
    assert (answer["latest_event_id"], answer["latest_external_event_sequence"]) == (3, 2)


async def test_the_event_id_cursor_must_be_the_end_of_the_log(api):
    path = await start(api, A, B)
    for wrong in (3, 2**53 - 1):
        body = {"events": [C], "expected_previous_event_id": wrong}
        problem = await api.refused(400, "EVENT_CURSOR_MISMATCH", "POST", path, body)
        assert problem["detail"] == MISMATCH
    assert (await api.post(path, {"events": [C], "expected_previous_event_id": 2}))["appended_count"] == 1
    assert await letters(api, path) == "abc"


async def test_the_sequence_cursor_must_be_the_runs(api):
    path = await start(api, A, B)
    for wrong in (0, 1, 3):
        body = {"events": [C], "expected_previous_external_event_sequence": wrong}
        assert (await api.refused(400, "EVENT_CURSOR_MISMATCH", "POST", path, body))["detail"] == MISMATCH
    body = {"events": [C], "expected_previous_external_event_sequence": 2}
    assert (await api.post(path, body))["appended_count"] == 1


async def test_a_repeat_adds_nothing_and_a_partial_repeat_adds_the_rest(api):
    path = await start(api, A, B)
    whole = {"events": [A, B], "expected_previous_event_id": 0}
    answer = await api.post(path, {**whole, "expected_previous_external_event_sequence": 0})
    assert (answer["appended_count"], answer["latest_event_id"]) == (0, 2)
    answer = await api.post(path, {"events": [B, C], "expected_previous_event_id": 1})
    assert (answer["appended_count"], answer["latest_event_id"]) == (1, 3)
    for other in ([A, D], [B], [D, A, B]):
        body = {"events": other, "expected_previous_event_id": 0}
        await api.refused(400, "EVENT_CURSOR_MISMATCH", "POST", path, body)
    # A prefix was committed, but other events follow it
    body = {"events": [A, B, D], "expected_previous_event_id": 0}
    await api.refused(400, "EVENT_CURSOR_MISMATCH", "POST", path, body)
    assert await letters(api, path) == "abc"


async def test_both_cursors_must_match(api):
    path = await start(api, A)
    for event_id, sequence, fits in ((1, 0, False), (2, 1, False), (1, 1, True)):
        cursors = {"expected_previous_event_id": event_id}
        cursors["expected_previous_external_event_sequence"] = sequence
        response = await api.send("POST", path, {"events": [B], **cursors})
        assert response.status_code == (200 if fits else 400)


async def test_one_of_many_appends_at_the_same_cursor_succeeds(api):
    path = await start(api)
    bodies = [{"events": [{"type": "A", "n": n}], "expected_previous_event_id": 0} for n in range(20)]
    answers = await asyncio.gather(*(api.send("POST", path, body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 19


async def test_an_ended_run_refuses_events(api):
    run, path = await api.agent_run()
    await api.complete(run["run_id"], "failed")
    for events in (f"{path}/events", f"/runs/{run['run_id']}/events"):
        problem = await api.refused(400, "EVENT_RUN_TERMINAL", "POST", events, {"events": [A]})
        assert problem["detail"] == "Cannot append external events to a terminal run"


async def test_a_waiting_run_refuses_events(api):
    run, path = await api.agent_run()
    await api.post(f"/runs/{run['run_id']}/wait", {"reason": "tool"})
    for events in (f"{path}/events", f"/runs/{run['run_id']}/events"):
        problem = await api.refused(400, "EVENT_RUN_WAITING", "POST", events, {"events": [A]})
        assert problem["detail"] == WAITING


@pytest.mark.parametrize("name", ["RUN_FINISHED", "RUN_ERROR"])
async def test_terminal_events_cannot_be_appended(api, name):
    _, path = await api.agent_run()
    await api.refused(400, "EVENT_TYPE_REFUSED", "POST", f"{path}/events", {"events": [A, {"type": name}]})
    assert (await api.get(f"{path}/events"))["data"] == []


async def test_any_other_type_is_stored_unchanged(api):
    events = [
        {"type": "RUN_STARTED"},
        {"type": "made.up type", "x": {"y": [None, 1.5, "é"]}},
        {"type": "run_error"},
    ]
    path = await start(api, *events)
    assert [event["payload"] for event in (await api.get(path))["data"]] == events
    assert (await api.get(path.removesuffix("/events")))["status"] == "running"


async def test_an_event_is_stored_unchanged_on_one_line(api):
    path = await start(api)
    await api.post(path, b'{"events":[{"type":"A",\n "n":1.0,\t"big":100000000000000000000,"e":"\\u00e9"}]}')
    text = (await api.send("GET", path)).text
    assert '{"type":"A","n":1.0,"big":100000000000000000000,"e":"\\u00e9"}' in text


async def test_private_events_are_stored_and_never_shown(api):
    run, path = await api.agent_run()
    await api.post(f"{path}/events", {"events": [A]})
    private = {"events": [PRIVATE, PRIVATE], "expected_previous_event_id": 1}
    answer = await api.post(f"{path}/events", private)
    assert (answer["latest_event_id"], answer["appended_count"]) == (3, 2)
    assert "latest_external_event_sequence" not in answer
    assert "latest_external_event_sequence" not in answer["run"]
    assert (await api.post(f"{path}/events", private))["appended_count"] == 0
    mixed = {"events": [PRIVATE, B], "expected_previous_event_id": 3}
    answer = await api.post(f"{path}/events", mixed)
    assert (answer["latest_external_event_sequence"], answer["run"]["latest_external_event_sequence"]) == (
        2,
        2,
    )
    await api.complete(run["run_id"])
    for shown in ("events", "snapshot", "stream"):
        text = (await api.send("GET", f"{path}/{shown}")).text
        assert "secret" not in text
        assert "CONTEXT" not in text
    assert [event["event_id"] for event in (await api.get(f"{path}/events"))["data"]] == [1, 5, 6]
    assert [e["event_id"] for e in (await api.get(f"{path}/events?after_event_id=1&limit=1"))["data"]] == [5]


async def test_an_append_of_private_events_leaves_the_sequence_out(api):
    run = await api.create()
    answer = await api.append(run["run_id"], PRIVATE, expected_previous_event_id=0)
    assert "latest_external_event_sequence" not in {**answer, **answer["run"]}


async def test_private_events_need_the_event_id_cursor(api):
    path = await start(api)
    problem = await api.refused(400, "INVALID_REQUEST", "POST", path, {"events": [PRIVATE]})
    assert problem["errors"] == [{"path": "$.expected_previous_event_id", "message": "missing"}]


async def test_a_private_event_of_four_mib_is_stored_whole(api):
    _run, path = await api.agent_run()
    big = {**PRIVATE, "prompt": "x" * (4 << 20)}
    body = {"events": [big], "expected_previous_event_id": 0}
    assert (await api.post(f"{path}/events", body))["appended_count"] == 1
    assert (await api.post(f"{path}/events", body))["appended_count"] == 0  # whole: it is recognized
    different = {**big, "prompt": big["prompt"][:-1] + "y"}
    body = {"events": [different], "expected_previous_event_id": 0}
    await api.refused(400, "EVENT_CURSOR_MISMATCH", "POST", f"{path}/events", body)


async def test_an_event_of_256_kib_is_refused_and_a_smaller_one_accepted(api):
    frame = len('{"type":"A","x":""}')
    path = await start(api)
    for size in (256 << 10, (256 << 10) + 1):
        body = {"events": [A, {"type": "A", "x": "x" * (size - frame)}]}
        problem = await api.refused(400, "EVENT_TOO_LARGE", "POST", path, body)
        assert problem["detail"] == "Agent run event payload must be less than 256 KB"
        assert problem["errors"][0]["path"] == "$.events[1]"
    assert (await api.get(path))["data"] == []
    await api.post(path, {"events": [{"type": "A", "x": "x" * ((256 << 10) - 1 - frame)}]})


async def test_a_hundred_events_are_accepted_together(api):
    path = await start(api)
    assert (await api.post(path, {"events": [A] * 100}))["appended_count"] == 100
    for count in (0, 101):
        await api.refused(400, "INVALID_REQUEST", "POST", path, {"events": [A] * count})
    assert len((await api.get(f"{path}?limit=500"))["data"]) == 100


async def test_a_full_log_has_room_for_the_terminal_event(driver, monkeypatch):
    path = await start(driver, A)
    monkeypatch.setattr(limits, "events_per_run_max", 3)
    await driver.post(path, {"events": [B]})
    await driver.refused(400, "EVENT_LOG_FULL", "POST", path, {"events": [C]})
    run = path.removesuffix("/events")
    await driver.post(f"{run}/wait", {"reason": "event"})
    await driver.refused(400, "EVENT_LOG_FULL", "POST", f"{run}/resume", {"type": "event"})
    assert (await driver.post(f"{run}/complete", {"status": "completed"}))["run"]["latest_event_id"] == 3


async def test_pages_of_events_continue_by_event_id(api):
    path = await start(api, *[{"type": "A", "n": n} for n in range(5)])
    found, after = [], "0"
    while after is not None:
        page = await api.get(f"{path}?after_event_id={after}&limit=2")
        assert page["page_info"]["self"] == after
        assert (page["page_info"]["first"], page["page_info"]["prev"]) == (None, None)
        found += [event["event_id"] for event in page["data"]]
        after = page["page_info"]["next"]
    assert found == [1, 2, 3, 4, 5]
    beyond = await api.get(f"{path}?after_event_id=99")
    assert (beyond["data"], beyond["page_info"]["next"]) == ([], None)


async def test_a_page_has_a_hundred_events_by_default(driver):
    path = await start(driver)
    for _ in range(6):
        await driver.post(path, {"events": [A] * 100})
    assert len((await driver.get(path))["data"]) == 100
    page = await driver.get(f"{path}?limit=500")
    assert (len(page["data"]), page["page_info"]["next"]) == (500, "500")
    for limit in ("0", "501", "-1", "1.0", "x"):
        await driver.refused(400, "INVALID_REQUEST", "GET", f"{path}?limit={limit}")
    for after in ("-1", "1.5", "x", str(2**53)):
        await driver.refused(400, "INVALID_REQUEST", "GET", f"{path}?after_event_id={after}")


async def test_a_page_of_large_events_is_shorter_and_still_continues(api):
    path = await start(api)
    for _ in range(6):
        await api.post(path, {"events": [{"type": "A", "x": "x" * 250_000}]})
    page = await api.get(path)
    assert 1 <= len(page["data"]) < 6
    rest = await api.get(f"{path}?after_event_id={page['page_info']['next']}")
    assert len(page["data"]) + len(rest["data"]) == 6


async def test_events_are_filtered_by_type(api):
    run, path = await api.agent_run()
    await api.post(f"{path}/events", {"events": [{"type": name} for name in "ABCAB"]})
    for place in (f"{path}/events", f"/runs/{run['run_id']}/events"):
        page = await api.get(f"{place}?event_type=A&event_type=C")
        assert [event["event_id"] for event in page["data"]] == [1, 3, 4]
        page = await api.get(f"{place}?event_type=A&limit=1")
        assert page["page_info"]["next"] == "1"


async def test_a_run_is_found_under_its_own_conversation_only(api):
    run, path = await api.agent_run()
    other = path.replace(path.split("/")[2], await api.conversation())
    for method, act in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/snapshot"),
        ("GET", "/stream"),
        ("GET", "/children"),
    ):
        await api.refused(404, "NOT_FOUND", method, f"{other}{act}")
    await api.refused(404, "NOT_FOUND", "POST", f"{other}/events", {"events": [A]})
    task = await api.create()
    await api.refused(404, "NOT_FOUND", "GET", path.replace(run["run_id"], task["run_id"]))
