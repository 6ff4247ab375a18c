"""`/projects/{project}/bulk`: one action on all runs that match a filter when the job begins."""

import asyncio

import pytest

from runstead.commands import bulk_jobs, retry
from runstead.core import limits
from runstead.core.errors import Error
from runstead.loops.bulk_jobs import advance_bulk_jobs

pytestmark = pytest.mark.postgres

PLACE = "/projects/inventory/bulk"


async def runs(api, count, status=None, target="task:count", **members):
    """Ids of new runs, oldest first."""
    ids = [
        (await api.create(api.task(target, public_id=f"{target[5:]}-{n}", **members)))["run_id"]
        for n in range(count)
    ]
    for run_id in ids if status else ():
        await api.complete(run_id, status=status)
    return ids


async def begin(api, action, filter, **more):  # noqa: A002 - the member's name
    return (await api.post(PLACE, {"action": action, "filter": filter, **more}, 202, by="admin"))["job"]


async def done(api, job):
    """The job after all of its work."""
    while await advance_bulk_jobs(api.app):
        pass
    return (await api.get(f"{PLACE}/{job['id']}"))["job"]


def counts(job):
    return job["status"], job["total"], job["done"], job["failed"]


async def statuses(api):
    return {run["run_id"]: run["status"] for run in (await api.get("/runs?limit=100"))["data"]}


async def test_exactly_the_runs_that_matched_at_the_beginning_are_cancelled(api):
    await runs(api, 3, labels={"a": "b"})
    await runs(api, 1, target="task:other")
    job = await begin(api, "cancel", {"target": ["task:count"], "label": ["a:b"], "status": ["pending"]})
    assert counts(job) == ("running", 3, 0, 0)
    assert job["filter"] == {"target": ["task:count"], "label": ["a:b"], "status": ["pending"]}
    late = await api.create(api.task(public_id="late", labels={"a": "b"}))
    ended = await done(api, job)
    assert counts(ended) == ("completed", 3, 3, 0)
    assert ended["ended_at"] is not None
    found = await statuses(api)
    assert found == {f"count-{n}": "cancelled" for n in range(3)} | {
        "other-0": "pending",
        late["run_id"]: "pending",
    }
    assert (await api.run("count-0"))["cancellation"]["reason"] == f"Bulk job {job['id']}"
    entries = (await api.get("/projects/inventory/audit?limit=100", by="admin"))["data"]
    assert [one["action"] for one in entries].count("run.cancel") == 3
    assert {one["action"] for one in entries} >= {"bulk.create", "run.cancel"}


async def test_each_run_is_retried_once_although_the_server_dies_between_two_steps(api, monkeypatch):
    await runs(api, 5, "failed")
    await runs(api, 1, target="task:alive")
    monkeypatch.setattr(limits, "bulk_runs_per_tick_max", 4)
    monkeypatch.setattr(limits, "bulk_part_runs", 5)
    job = await begin(api, "retry", {}, from_step="failed")
    store = retry.store
    calls = []

    async def dies(*arguments, **options):
        calls.append(None)
        if len(calls) == 3:
            await store(*arguments, **options)
            raise asyncio.CancelledError
        return await store(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(retry, "store", dies)
        with pytest.raises(asyncio.CancelledError):
            await advance_bulk_jobs(api.app)
    assert counts((await api.get(f"{PLACE}/{job['id']}"))["job"]) == ("running", 6, 0, 0)
    # Two leaders that read the same progress: what both do counts once.
    (stored,) = await api.app.store.bulk_jobs.running(10)
    await asyncio.gather(bulk_jobs.work(api.app, stored), bulk_jobs.work(api.app, stored))
    assert counts((await api.get(f"{PLACE}/{job['id']}"))["job"]) == ("running", 6, 4, 0)
    ended = await done(api, job)
    assert counts(ended) == ("completed", 6, 5, 1)
    assert [(one["run_id"], one["code"]) for one in ended["errors"]] == [("alive-0", "RUN_NOT_TERMINAL")]
    retried = [one["retry_of"] for one in (await api.get("/runs?limit=100"))["data"] if one["retry_of"]]
    assert sorted(retried) == [f"count-{n}" for n in range(5)]


async def test_deleted_runs_are_gone_and_later_runs_with_their_ids_stay(api):
    await runs(api, 2, "completed")
    active = await api.create(api.task("task:alive", public_id="alive"))
    job = await begin(api, "delete", {})
    await api.send("DELETE", "/runs/count-1", by="admin")
    await api.create(api.task(public_id="count-1"))
    await api.complete("count-1")
    ended = await done(api, job)
    assert counts(ended) == ("completed", 3, 2, 1)
    assert ended["errors"][0]["run_id"] == active["run_id"]
    assert await statuses(api) == {"count-1": "completed", "alive": "pending"}


async def test_a_parent_is_deleted_after_its_children(api):
    parent = await api.create(api.task(public_id="parent"))
    await api.create(api.task(public_id="child", parent_run_id=parent["run_id"]))
    await api.post("/runs/parent/cancel")
    assert counts(await done(api, await begin(api, "delete", {}))) == ("completed", 2, 2, 0)
    assert await statuses(api) == {}


async def test_a_job_is_cancelled_and_what_it_has_done_stays(api, monkeypatch):
    monkeypatch.setattr(limits, "bulk_runs_per_tick_max", 2)
    await runs(api, 5)
    job = await begin(api, "cancel", {})
    assert await advance_bulk_jobs(api.app) == 2
    stopped = (await api.post(f"{PLACE}/{job['id']}/cancel", by="write"))["job"]
    assert counts(stopped) == ("cancelled", 5, 2, 0)
    assert await advance_bulk_jobs(api.app) == 0
    assert list((await statuses(api)).values()).count("cancelled") == 2
    assert (await api.post(f"{PLACE}/{job['id']}/cancel"))["job"] == stopped


async def test_a_job_waits_while_the_store_is_busy_and_lets_other_jobs_advance(api, monkeypatch):
    await runs(api, 3)
    job = await begin(api, "cancel", {})
    cancel = bulk_jobs.runs.cancel

    async def busy(app, principal, ref, reason):
        if ref.run_id == "count-1":
            raise Error("STORE_BUSY", "not now", retry_after_s=1)
        return await cancel(app, principal, ref, reason)

    with monkeypatch.context() as patch:
        patch.setattr(bulk_jobs.runs, "cancel", busy)
        assert [await advance_bulk_jobs(api.app) for _ in range(2)] == [1, 0]
        patch.setattr(api.store, "expected_wait_s", lambda: 10.0)
        assert await advance_bulk_jobs(api.app) == 0
    monkeypatch.setattr(limits, "bulk_runs_per_tick_max", 1)
    monkeypatch.setattr(limits, "bulk_jobs_per_tick_max", 1)
    second = await begin(api, "cancel", {"target": ["task:count"]})
    api.clock.advance(1)
    for _ in range(3):
        await advance_bulk_jobs(api.app)
        api.clock.advance(1)
    assert (await api.get(f"{PLACE}/{second['id']}"))["job"]["done"] >= 1
    assert counts(await done(api, job)) == ("completed", 3, 3, 0)


@pytest.mark.parametrize("empty", [{"status": []}, {"kind": []}, {"target": []}, {"label": []}, {"q": ""}])
async def test_an_empty_filter_is_refused_because_it_would_match_every_run(api, empty):
    await api.refused(400, "INVALID_REQUEST", "POST", PLACE, {"action": "cancel", "filter": empty})


async def test_refusals_and_bounds(api, monkeypatch):
    unknown = await api.refused(
        400, "INVALID_REQUEST", "POST", PLACE, {"action": "cancel", "filter": {"staus": ["failed"]}}
    )
    assert "staus" in unknown["detail"]
    for bad in ({"status": "failed"}, {"limit": 5}, {"label": ["no colon"]}):
        await api.refused(400, "INVALID_REQUEST", "POST", PLACE, {"action": "cancel", "filter": bad})
    await api.refused(400, "INVALID_REQUEST", "POST", PLACE, {"action": "cancel"})
    wrong = {"action": "cancel", "filter": {}, "from_step": "1"}
    await api.refused(400, "INVALID_REQUEST", "POST", PLACE, wrong)
    await api.refused(403, "FORBIDDEN", "POST", PLACE, {"action": "delete", "filter": {}}, by="write")
    await api.refused(404, "NOT_FOUND", "GET", f"{PLACE}/nothing")
    await runs(api, 3)
    empty = await begin(api, "retry", {"target": ["task:none"]})
    assert counts(empty) == ("completed", 0, 0, 0)
    monkeypatch.setattr(limits, "bulk_runs_max", 2)
    await api.refused(409, "BULK_TOO_LARGE", "POST", PLACE, {"action": "cancel", "filter": {}})
    monkeypatch.setattr(limits, "bulk_runs_max", 3)
    monkeypatch.setattr(limits, "bulk_jobs_running_max", 1)
    monkeypatch.setattr(limits, "bulk_jobs_kept", 1)
    key = {"Idempotency-Key": "k"}
    body = {"action": "cancel", "filter": {}}
    job = (await api.post(PLACE, body, 202, headers=key))["job"]
    assert (await api.post(PLACE, body, 202, headers=key))["job"] == job
    await api.refused(409, "BULK_LIMIT_REACHED", "POST", PLACE, body)
    await api.refused(404, "NOT_FOUND", "GET", f"{PLACE}/{empty['id']}")
    assert counts(await done(api, job)) == ("completed", 3, 3, 0)
