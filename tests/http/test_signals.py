"""`/runs/{run_id}/signals`, and waits for events."""

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres

EVENT = {"name": "paid", "tool_call_id": "c-1"}


async def test_a_kept_signal_is_taken_by_the_wait_for_its_name(api):
    run_id = (await api.create())["run_id"]
    path = f"/runs/{run_id}"
    sent = await api.post(f"{path}/signals", {"name": "paid", "payload": {"euros": 5}}, status=202)
    assert (sent["delivered"], sent["duplicate"]) == (False, False)
    assert sent["signal"].keys() == {"id", "name", "created_at"}
    other = await api.post(f"{path}/signals", {"name": "sent"}, status=202)
    waiting = await api.post(
        f"{path}/wait", {"reason": "event", "tool_call_id": "c-1", "event": {"name": "paid"}}
    )
    assert waiting["run"]["status"] == "pending"
    assert waiting["signal"] == {"id": sent["signal"]["id"], "name": "paid", "payload": {"euros": 5}}
    [event] = (await api.get(f"{path}/events"))["data"]
    assert event["source"] == "server"
    assert event["payload"]["value"] == {
        "type": "event",
        "tool_call_id": "c-1",
        "result": {"euros": 5},
        "is_error": False,
        "signal_id": sent["signal"]["id"],
    }
    listed = (await api.get(f"{path}/signals"))["data"]
    assert [(one["name"], one["payload"], one["event_id"]) for one in listed] == [
        ("paid", {"euros": 5}, event["event_id"]),
        ("sent", None, None),
    ]
    assert [one["id"] for one in (await api.get(f"{path}/signals?taken=false"))["data"]] == [
        other["signal"]["id"]
    ]
    first = await api.get(f"{path}/signals?limit=1")
    assert first["page_info"]["next"] == "1"
    assert [one["name"] for one in (await api.get(f"{path}/signals?cursor=1"))["data"]] == ["sent"]
    assert (await api.get(f"{path}/signals?cursor={limits.integer_max}"))["data"] == []


async def test_a_waiting_run_is_resumed_by_a_signal_or_by_the_answer_to_any_open_event(api):
    for answer in ("signal", "resume"):
        path = f"/runs/{(await api.create())['run_id']}"
        body = {
            "reason": "event",
            "tool_call_id": "c-0",
            "open_events": [{"name": "sent", "tool_call_id": "c-0"}, EVENT],
        }
        assert (await api.post(f"{path}/wait", body))["run"]["status"] == "waiting"
        if answer == "signal":
            sent = await api.post(f"{path}/signals", {"name": "paid", "payload": 5}, status=202)
            assert sent["delivered"]
        else:
            await api.post(f"{path}/resume", {"type": "event", "tool_call_id": "c-1", "result": 5})
        assert (await api.get(path))["status"] == "running"
        late = {"type": "event", "tool_call_id": "c-1", "result": 6}
        await api.refused(409, "TOOL_RESULT_CONFLICT", "POST", f"{path}/resume", late)


async def test_a_repeated_key_is_answered_with_the_first_signal(api):
    path = f"/runs/{(await api.create())['run_id']}/signals"
    body = {"name": "paid", "payload": 5, "idempotency_key": "k"}
    first = await api.post(path, body, status=202)
    again = await api.post(path, body, status=202)
    assert again == first | {"duplicate": True}
    await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", path, body | {"payload": 6})
    assert len((await api.get(path))["data"]) == 1


async def test_what_a_run_cannot_keep_is_refused(api, monkeypatch):
    monkeypatch.setattr(limits, "signals_untaken_max", 1)
    run_id = (await api.create())["run_id"]
    path = f"/runs/{run_id}/signals"
    large = "x" * (limits.signal_payload_bytes_max - 1)
    await api.refused(400, "INVALID_REQUEST", "POST", path, {"name": "paid", "payload": large})
    await api.refused(400, "INVALID_REQUEST", "POST", path, {"name": "a\nb"})
    await api.post(path, {"name": "paid", "payload": large[:-1]}, status=202)
    await api.refused(409, "SIGNALS_FULL", "POST", path, {"name": "paid"})
    await api.complete(run_id)
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", path, {"name": "paid"})


async def test_a_program_that_answers_before_the_run_waits_is_not_refused(api):
    """It follows the log, and the question is stored before the wait."""
    taken, _ = await api.claimed()
    path, lease = f"/runs/{taken['run_id']}", {"headers": {"X-Lease-Token": taken["lease_token"]}}
    asked = {"type": "CUSTOM", "name": "run.asked", "value": {"tool_call_id": "c-1", "event": "paid"}}
    await api.post(f"{path}/events", {"events": [asked]}, **lease)
    await api.post(f"{path}/signals", {"name": "paid", "payload": True}, status=202)
    body = {"reason": "event", "open_events": [EVENT], "release": True}
    answer = await api.post(f"{path}/wait", body, **lease)
    assert (answer["run"]["status"], answer["signal"]["payload"]) == ("running", True)
