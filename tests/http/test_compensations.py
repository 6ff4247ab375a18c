"""`/runs/{run_id}/compensations`."""

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres


async def test_they_are_created_when_the_run_is_cancelled_and_listed_before_and_after(api):
    run_id = (await api.create())["run_id"]
    path = f"/runs/{run_id}/compensations"
    body = {"target": "task:refund", "config": {"euros": 5}, "input": [1], "title": "Refund"}
    first = await api.post(path, body | {"idempotency_key": "k"}, status=201)
    assert (first["duplicate"], first["compensation"]["number"]) == (False, 1)
    assert first["compensation"].keys() == {"number", "target", "title", "created_at", "run_id"}
    again = await api.post(path, body | {"idempotency_key": "k"}, status=201)
    assert again == first | {"duplicate": True}
    await api.refused(
        409, "IDEMPOTENCY_KEY_REUSED", "POST", path, {"target": "task:a", "idempotency_key": "k"}
    )
    await api.post(path, {"target": "workflow:undo"}, status=201)
    run = await api.get(f"/runs/{run_id}")
    assert (run["compensations"], run["compensates"]) == (2, None)
    cancelled = (await api.post(f"/runs/{run_id}/cancel"))["run"]
    assert (cancelled["compensations"], cancelled["descendants"]) == (0, {"total": 2, "active": 2})
    undo, refund = (await api.get(f"/runs/{run_id}/children"))["data"]
    assert (undo["target"], undo["kind"], undo["workflow_id"]) == ("workflow:undo", "workflow", "undo")
    assert undo["available_at"] is not None
    assert (refund["available_at"], refund["title"]) == (None, "Refund")
    assert {undo["compensates"], refund["compensates"], refund["parent_run_id"]} == {run_id}
    assert (await api.get(f"/runs/{refund['run_id']}"))["input"] == [1]
    listed = (await api.get(path))["data"]
    assert [(one["number"], one["run_id"]) for one in listed] == [
        (1, refund["run_id"]),
        (2, undo["run_id"]),
    ]
    await api.complete(undo["run_id"])
    assert (await api.get(f"/runs/{refund['run_id']}"))["available_at"] is not None


async def test_only_the_current_attempt_registers(api):
    taken, _ = await api.claimed()
    path = f"/runs/{taken['run_id']}/compensations"
    body = {"target": "task:refund", "attempt": taken["attempt"] + 1}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", path, body)
    await api.post(
        path, {"target": "task:refund"}, status=201, headers={"X-Lease-Token": taken["lease_token"]}
    )
    await api.complete(taken["run_id"])
    assert (await api.get(path))["data"] == []
    await api.refused(410, "RUN_NOT_ACTIVE", "POST", path, {"target": "task:refund"})


async def test_what_cannot_be_registered_is_refused(api, monkeypatch):
    monkeypatch.setattr(limits, "compensations_per_run_max", 1)
    path = f"/runs/{(await api.create())['run_id']}/compensations"
    large = "x" * limits.run_config_bytes_max
    for body in ({"target": "agent:a"}, {"target": "task:a", "config": {"a": large}}, {"config": {}}):
        await api.refused(400, "INVALID_REQUEST", "POST", path, body)
    await api.post(path, {"target": "task:a"}, status=201)
    await api.refused(409, "COMPENSATIONS_FULL", "POST", path, {"target": "task:a"})
