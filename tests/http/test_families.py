"""`/runs/{run_id}/children`, `/tree` and `/attempts`."""

import pytest

pytestmark = pytest.mark.postgres


async def family(api):
    """a ─ b ─ d, a ─ c: created in the order a, b, c, d."""
    for name, parent in (("a", None), ("b", "a"), ("c", "a"), ("d", "b")):
        await api.create(api.task(public_id=name, parent_run_id=parent))


def ids(answer):
    return [run["run_id"] for run in answer["data"]]


async def test_children_are_the_direct_ones_oldest_first(api):
    await family(api)
    answer = await api.get("/runs/a/children")
    assert list(answer) == ["data", "omitted"]
    assert ids(answer) == ["b", "c"]
    assert ids(await api.get("/runs/d/children")) == []
    assert answer["data"][0] == await api.stored("b")


async def test_the_tree_is_the_whole_family_from_anywhere_in_it(api):
    await family(api)
    for name in "abcd":
        answer = await api.get(f"/runs/{name}/tree")
        assert ids(answer) == ["a", "b", "c", "d"]
        assert [run["parent_run_id"] for run in answer["data"]] == [None, "a", "a", "b"]
        assert {run["root_run_id"] for run in answer["data"]} == {"a"}


async def test_every_run_counts_its_descendants(api):
    await family(api)
    assert (await api.run("a"))["descendants"] == {"total": 3, "active": 3}
    await api.complete("d")
    assert (await api.run("a"))["descendants"] == {"total": 3, "active": 2}
    assert (await api.run("b"))["descendants"] == {"total": 1, "active": 0}


async def test_a_cancellation_includes_the_descendants_only(api):
    await family(api)
    await api.complete("d")
    answer = await api.post("/runs/b/cancel", {"reason": "stop"})
    assert answer["cancelled"] is True
    statuses = {run["run_id"]: run["status"] for run in (await api.get("/runs/a/tree"))["data"]}
    assert statuses == {"a": "pending", "b": "cancelled", "c": "pending", "d": "completed"}
    await api.post("/runs/a/cancel")
    descendant = await api.run("c")
    assert (descendant["status"], descendant["error"]["code"]) == ("cancelled", "CANCELLED")
    assert await api.event_types("c") == ["RUN_ERROR"]
    assert (await api.run("a"))["descendants"] == {"total": 3, "active": 0}


async def test_no_child_is_created_under_a_cancelled_run(api):
    await family(api)
    await api.post("/runs/a/cancel")
    for parent in "abcd":
        body = api.task(public_id="late", parent_run_id=parent)
        await api.refused(409, "PARENT_CANCELLED", "POST", "/runs", body)
    await api.refused(409, "PARENT_CANCELLED", "POST", "/runs/d/retry")
    await api.refused(404, "NOT_FOUND", "GET", "/runs/late")


async def test_no_descendant_of_a_cancelled_run_is_claimed(api):
    await family(api)
    worker, _ = await api.worker()
    await api.post("/runs/a/cancel")
    assert (await api.claim(worker, max_runs=10))["runs"] == []


async def test_the_depth_of_a_family_is_bounded(driver):
    await driver.create(driver.task(public_id="r0"))
    for depth in range(1, 64):
        await driver.create(driver.task(public_id=f"r{depth}", parent_run_id=f"r{depth - 1}"))
    body = driver.task(public_id="r64", parent_run_id="r63")
    await driver.refused(409, "FAMILY_TOO_DEEP", "POST", "/runs", body)
    assert (await driver.run("r0"))["descendants"]["total"] == 63


async def test_attempts_show_the_outcome_of_each_claim(api):
    run = await api.create(api.task(public_id="r"))
    assert await api.get("/runs/r/attempts") == {"data": []}
    worker, _ = await api.worker()
    worker_id = worker.rpartition("/")[2]
    await api.claim(worker)
    [running] = (await api.get("/runs/r/attempts"))["data"]
    at = run["created_at"]
    assert running == {
        "attempt": 1,
        "lease_owner": worker_id,
        "started_at": at,
        "ended_at": None,
        "outcome": "running",
        "error": None,
    }
    await api.post(f"{worker}/runs/r/release", {"error": {"why": "rebooting"}, "retry_after_seconds": 0})
    await api.claim(worker)
    await api.pass_time(61)
    api.clock.advance(60)
    taken = (await api.claim(worker))["run"]
    await api.complete("r", "failed", attempt=taken["attempt"], terminal_error_message="It broke")
    found = (await api.get("/runs/r/attempts"))["data"]
    assert [(one["attempt"], one["outcome"]) for one in found] == [
        (1, "released"),
        (2, "lease_expired"),
        (3, "failed"),
    ]
    assert found[0]["error"] == {"why": "rebooting"}
    assert (found[2]["error"], found[2]["ended_at"]) == (
        {"message": "It broke"},
        "2026-03-20T12:02:01.000Z",
    )
