"""`POST /projects/{project}/batches/{batch_id}/retry`: which runs are retried, and what is refused."""

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres

PLACE = "/projects/inventory/batches"


def task(name, **request):
    return {"kind": "task", "request": {"target": "task:count", **request}, "public_id": name}


async def ended(api, **ends):
    """Create a batch whose runs have ended with these statuses."""
    runs = [task(name, input={"name": name}) for name in ends]
    body = {"runs": runs, "name": "first", "on_complete": {"target": "task:report"}}
    batch = (await api.post(PLACE, body, 202))["batch"]
    for name, end in ends.items():
        if end == "cancelled":
            await api.post(f"/runs/{name}/cancel")
        else:
            await api.complete(name, end, output={"large": "x" * 100} if end == "failed" else None)
    return f"{PLACE}/{batch['id']}"


async def runs_of(api, answer):
    return [await api.run(run_id) for run_id in answer["run_ids"]]


async def test_failed_runs_are_retried_in_a_new_batch(api):
    batch = await ended(api, a="failed", b="completed", c="failed", d="cancelled")
    response = await api.send("POST", f"{batch}/retry")
    answer = response.json()
    assert (response.status_code, answer["accepted"]) == (202, True)
    new = answer["batch"]
    assert (new["name"], new["total"], new["status_counts"]["pending"]) == ("first", 2, 2)
    assert new["on_complete"] == {"target": "task:report", "config": {}, "run_id": None}
    assert await api.get(response.headers["location"]) == new
    runs = await runs_of(api, answer)
    assert [run["retry_of"] for run in runs] == ["a", "c"]
    assert [run["input"] for run in runs] == [{"name": "a"}, {"name": "c"}]
    assert {(run["batch_id"], run["status"], run["output"]) for run in runs} == {(new["id"], "pending", None)}
    assert (await api.get(batch))["status_counts"]["failed"] == 2


async def test_cancelled_runs_and_batches_are_retried_on_request(api):
    runs = [task(name) for name in "abc"]
    batch = f"{PLACE}/{(await api.post(PLACE, {'runs': runs}, 202))['batch']['id']}"
    await api.complete("a", "failed")
    await api.post(f"{batch}/cancel")
    answer = await api.post(f"{batch}/retry", {"cancelled": True, "name": "second"}, 202)
    assert [run["retry_of"] for run in await runs_of(api, answer)] == ["a", "b", "c"]
    assert answer["batch"]["name"] == "second"
    for run_id in answer["run_ids"]:
        await api.complete(run_id)
    assert (await api.get(f"{PLACE}/{answer['batch']['id']}"))["status"] == "completed"


async def test_a_repeat_with_the_same_key_creates_no_second_batch(api):
    batch = await ended(api, a="failed")
    key = {"Idempotency-Key": "k"}
    first = await api.post(f"{batch}/retry", {}, 202, headers=key)
    assert await api.post(f"{batch}/retry", {}, 202, headers=key) == first
    assert len((await api.get(PLACE))["data"]) == 2
    assert (await api.post(f"{batch}/retry", {}, 202))["run_ids"] != first["run_ids"]


async def test_a_batch_that_cannot_be_retried_is_refused_and_nothing_is_stored(api):
    runs = [task("a"), task("b")]
    batch = f"{PLACE}/{(await api.post(PLACE, {'runs': runs}, 202))['batch']['id']}"
    await api.complete("a", "failed")
    problem = await api.refused(409, "BATCH_NOT_RETRIABLE", "POST", f"{batch}/retry", {})
    assert problem["detail"].endswith("it is running")
    await api.complete("b")
    gone = await api.send("DELETE", "/runs/a", by="admin", headers={"If-Match": "*"})
    assert gone.status_code == 200, gone.text
    problem = await api.refused(409, "BATCH_NOT_RETRIABLE", "POST", f"{batch}/retry", {"cancelled": True})
    assert "nothing to retry" in problem["detail"]
    await api.refused(404, "NOT_FOUND", "POST", f"{PLACE}/unknown/retry", {})
    await api.refused(403, "FORBIDDEN", "POST", f"{batch}/retry", {}, by="read")
    assert len((await api.get(PLACE))["data"]) == 1


async def test_a_run_with_a_cancelled_parent_refuses_the_whole_retry(api):
    await api.create(api.task(public_id="top"))
    runs = [task("a"), task("b") | {"parent_run_id": "top"}]
    batch = f"{PLACE}/{(await api.post(PLACE, {'runs': runs}, 202))['batch']['id']}"
    for name in "ab":
        await api.complete(name, "failed")
    again = await api.post(f"{batch}/retry", {}, 202)
    assert [run["parent_run_id"] for run in await runs_of(api, again)] == [None, "top"]
    await api.post("/runs/top/cancel")
    problem = await api.refused(409, "PARENT_CANCELLED", "POST", f"{batch}/retry", {})
    assert problem["detail"].startswith("b: ")
    assert len((await api.get(PLACE))["data"]) == 2


async def test_at_most_a_thousand_runs_are_retried_together(api, monkeypatch):
    monkeypatch.setattr(limits, "runs_per_batch_max", 7)
    monkeypatch.setattr(limits, "batch_retry_page_rows", 3)
    batch = await ended(api, **{f"run-{n}": "failed" for n in range(7)})
    again = await api.post(f"{batch}/retry", {}, 202)
    assert [run["retry_of"] for run in await runs_of(api, again)] == [f"run-{n}" for n in range(7)]
    monkeypatch.setattr(limits, "runs_per_batch_max", 6)
    problem = await api.refused(409, "BATCH_NOT_RETRIABLE", "POST", f"{batch}/retry", {})
    assert "6 runs" in problem["detail"]


async def test_large_requests_are_not_read_into_memory_together(driver, monkeypatch):
    batch = await ended(driver, a="failed", b="failed")
    monkeypatch.setattr(limits, "batch_retry_bytes_max", 20)
    await driver.refused(409, "BATCH_NOT_RETRIABLE", "POST", f"{batch}/retry", {})


@pytest.mark.parametrize("body", [{"cancelled": 1}, {"name": ""}, []])
async def test_a_malformed_body_is_refused(driver, body):
    batch = await ended(driver, a="failed")
    await driver.refused(400, "INVALID_REQUEST", "POST", f"{batch}/retry", body)
