"""`/projects/{project}/batches…`: create, follow and cancel batches, and their follow-up runs."""

import asyncio
import json
import uuid

import pytest

from runstead.commands import batches as commands
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.fair_slots import Bounds, FairSlots
from runstead.loops.finalizer import finish_batches
from tests.support.until import eventually

pytestmark = pytest.mark.postgres

PLACE = "/projects/inventory/batches"
NOWHERE = str(uuid.UUID(int=7))
MEMBERS = {
    "id", "project_id", "name", "status", "status_counts", "total", "on_complete", "created_by", "created_at",
    "started_at", "completed_at", "cancel_requested_at", "cancel_reason",
}  # fmt: skip


def task(target="task:count", *, request=None, **members):
    return {"kind": "task", "request": {"target": target, **(request or {})}, **members}


async def made(api, *runs, status=202, **members):
    """Create a batch of these runs, or of this number of runs. Returns the answer."""
    if len(runs) == 1 and isinstance(runs[0], int):
        runs = tuple(task(public_id=f"run-{n}") for n in range(runs[0]))
    return await api.post(PLACE, {"runs": list(runs), **members}, status)


async def read(api, batch):
    return await api.get(f"{PLACE}/{batch['id']}")


def shown(batch):
    return {name: count for name, count in batch["status_counts"].items() if count}


async def test_a_batch_is_answered_with_its_runs_in_order(api):
    workflow = {"kind": "workflow", "request": {"workflow_id": "restock", "input": [1]}, "title": "second"}
    evaluation = {"kind": "eval", "request": {"target": "eval:tone"}, "labels": {"a": "b"}}
    answer = await made(api, task(public_id="first"), workflow, evaluation, name="mixed")
    batch = answer["batch"]
    assert answer["accepted"] is True
    assert batch.keys() == MEMBERS
    assert (batch["name"], batch["status"], batch["total"]) == ("mixed", "running", 3)
    assert (shown(batch), batch["on_complete"], batch["completed_at"]) == ({"pending": 3}, None, None)
    uuid.UUID(batch["created_by"])
    assert answer["run_ids"][0] == "first"
    runs = [await api.run(run_id) for run_id in answer["run_ids"]]
    assert [run["kind"] for run in runs] == ["task", "workflow", "eval"]
    assert {run["batch_id"] for run in runs} == {batch["id"]}
    assert {(run["owner"]["kind"], run["owner"]["id"]) for run in runs} == {("project", api.project.id)}
    assert (runs[1]["title"], runs[1]["input"], runs[2]["labels"]) == ("second", [1], {"a": "b"})
    assert await read(api, batch) == batch
    page = await api.get(f"{PLACE.replace('batches', 'runs')}?batch_id={batch['id']}")
    assert [run["run_id"] for run in page["data"]] == answer["run_ids"][::-1]


async def test_a_created_batch_has_a_location(driver):
    response = await driver.send("POST", PLACE, {"runs": [task()]})
    assert await driver.get(response.headers["location"]) == response.json()["batch"]


async def test_an_error_of_a_run_names_its_index(driver):
    runs = [task(), task("count"), task(), {"kind": "agent", "request": {}}]
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", PLACE, {"runs": runs})
    assert [one["path"] for one in problem["errors"]] == ["$.runs[3].kind"]
    runs[3] = task(request={"timeout_seconds": 0})
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", PLACE, {"runs": runs})
    assert [one["path"] for one in problem["errors"]] == [
        "$.runs[1].request.target",
        "$.runs[3].request.timeout_seconds",
    ]
    assert problem["detail"].startswith("runs[1]: ")
    assert await driver.nothing_stored()


@pytest.mark.parametrize(
    ("run", "path"),
    [
        (task(request={"batch_id": NOWHERE}), "$.runs[1].request.batch_id"),
        (task(owner={"kind": "project", "id": NOWHERE}), "$.runs[1].owner.id"),
        (task(owner={"kind": "conversation", "id": NOWHERE}), "$.runs[1].owner.kind"),
        (task(public_id="first"), "$.runs[1].public_id"),
        (task(public_id="a/b"), "$.runs[1].public_id"),
        (task(parent_run_id="unknown"), "$.runs[1]"),
    ],
)
async def test_an_invalid_run_refuses_the_batch(driver, run, path):
    response = await driver.send("POST", PLACE, {"runs": [task(public_id="first"), run]})
    assert response.status_code in {400, 404}, response.text
    assert [one["path"] for one in response.json()["errors"]] == [path]
    assert await driver.nothing_stored()


async def test_a_used_run_id_refuses_the_batch(api):
    await api.create(api.task(public_id="taken"))
    runs = [task(public_id="free"), task(public_id="taken")]
    problem = await api.refused(409, "RUN_ID_CONFLICT", "POST", PLACE, {"runs": runs})
    assert problem["errors"][0]["path"] == "$.runs[1]"
    await api.refused(404, "NOT_FOUND", "GET", "/runs/free")
    assert (await api.get(PLACE))["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"runs": []},
        {"runs": [task()] * (limits.runs_per_batch_max + 1)},
        {"runs": [task()], "on_complete": {"target": "agent:x"}},
        {"runs": [task()], "on_complete": {"target": "task:x", "config": {"a": "x" * (64 << 10)}}},
    ],
    ids=["nothing", "none", "too many", "agent", "large"],
)
async def test_a_malformed_batch_is_refused(driver, body):
    await driver.refused(400, "INVALID_REQUEST", "POST", PLACE, body)


async def test_the_owner_may_be_set(driver):
    owner = {"kind": "project", "id": driver.project.id.upper()}
    assert (await made(driver, task(owner=owner)))["batch"]["total"] == 1


async def test_a_thousand_runs_take_one_request(api):
    answer = await made(api, *[task()] * limits.runs_per_batch_max)
    assert len(set(answer["run_ids"])) == limits.runs_per_batch_max
    assert answer["batch"]["status_counts"]["pending"] == limits.runs_per_batch_max


async def test_a_repeat_with_the_same_key_creates_nothing(api):
    given = {"headers": {"Idempotency-Key": "k"}}
    body = {"runs": [task()], "name": "once"}
    first = await api.send("POST", PLACE, body, **given)
    again = await api.send("POST", PLACE, body, **given)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await api.get(PLACE))["data"]) == 1
    await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", PLACE, {"runs": [task(), task()]}, **given)


async def test_batches_are_listed_newest_first_page_by_page(api):
    ids = [(await made(api, task()))["batch"]["id"] for _ in range(3)]
    first = await api.get(f"{PLACE}?limit=2")
    second = await api.get(f"{PLACE}?limit=2&cursor={first['page_info']['next']}")
    assert [one["id"] for one in first["data"] + second["data"]] == ids[::-1]
    assert second["page_info"]["next"] is None


async def test_a_batch_of_another_project_is_not_found(driver):
    batch = (await made(driver, task()))["batch"]
    for method, path in (("GET", ""), ("GET", "/stream"), ("POST", "/cancel")):
        await driver.refused(404, "NOT_FOUND", method, f"{PLACE}/{batch['id']}{path}", by="other")
        there = f"/projects/elsewhere/batches/{batch['id']}{path}"
        await driver.refused(404, "NOT_FOUND", method, there, by="other")
        await driver.refused(404, "NOT_FOUND", method, f"{PLACE}/{NOWHERE}{path}")
    await driver.refused(404, "NOT_FOUND", "POST", PLACE, {"runs": [task()]}, by="other")
    await driver.refused(403, "FORBIDDEN", "POST", PLACE, {"runs": [task()]}, by="read")
    await driver.refused(403, "FORBIDDEN", "POST", f"{PLACE}/{batch['id']}/cancel", by="read")


async def test_a_batch_counts_its_runs_by_status_and_ends_with_the_last(api):
    batch = (await made(api, 3))["batch"]
    worker, _ = await api.worker()
    await api.claim(worker)
    await api.complete("run-1", "failed")
    found = await read(api, batch)
    assert shown(found) == {"pending": 1, "running": 1, "failed": 1}
    assert found["started_at"] is not None
    await api.complete("run-0")
    await api.complete("run-2")
    found = await read(api, batch)
    assert (found["status"], shown(found)) == ("completed", {"completed": 2, "failed": 1})
    assert found["completed_at"] is not None


async def test_a_run_joins_its_batch_until_the_batch_is_closed(api):
    batch = (await made(api, task(public_id="a")))["batch"]
    joining = api.task(request={"batch_id": batch["id"].upper()}, public_id="b")
    assert (await api.create(joining))["batch_id"] == batch["id"]
    assert (await read(api, batch))["total"] == 2
    for name in "ab":
        await api.complete(name)
    late = api.task(request={"batch_id": batch["id"]}, public_id="c")
    await api.refused(409, "BATCH_CLOSED", "POST", "/runs", late)
    await api.refused(404, "NOT_FOUND", "GET", "/runs/c")
    assert (await api.post("/runs", joining, 202))["duplicate"] is True


async def test_an_unknown_batch_id_is_stored_as_a_label(driver):
    label = NOWHERE.upper()
    assert (await driver.create(driver.task(request={"batch_id": label})))["batch_id"] == label


async def test_a_retry_joins_the_batch_while_it_is_open(api):
    batch = (await made(api, task(public_id="a"), task(public_id="b")))["batch"]
    await api.complete("a", "failed")
    again = (await api.post("/runs/a/retry", status=202))["run"]
    assert (again["batch_id"], (await read(api, batch))["total"]) == (batch["id"], 3)
    for run_id in ("b", again["run_id"]):
        await api.complete(run_id, "failed")
    later = (await api.post("/runs/b/retry", status=202))["run"]
    assert (later["batch_id"], (await read(api, batch))["total"]) == (None, 3)


async def test_cancelling_a_batch_cancels_its_active_runs(api, monkeypatch):
    monkeypatch.setattr(limits, "batch_cancel_rows_max", 2)
    batch = (await made(api, 5))["batch"]
    await api.complete("run-0")
    await api.create(api.task(parent_run_id="run-1", public_id="child"))
    answer = await api.post(f"{PLACE}/{batch['id']}/cancel", {"reason": "enough"})
    assert (answer["cancelled"], answer["batch"]["status"]) == (True, "cancelled")
    assert shown(answer["batch"]) == {"completed": 1, "cancelled": 4}
    assert answer["batch"]["cancel_reason"] == "enough"
    assert (await api.run("child"))["status"] == "cancelled"
    again = await api.post(f"{PLACE}/{batch['id']}/cancel")
    assert (again["cancelled"], again["batch"]) == (False, answer["batch"])


async def test_a_batch_that_is_complete_is_not_cancelled(driver):
    batch = (await made(driver, task(public_id="a")))["batch"]
    await driver.complete("a")
    answer = await driver.post(f"{PLACE}/{batch['id']}/cancel")
    assert (answer["cancelled"], answer["batch"]["status"]) == (False, "completed")


async def test_the_loop_finishes_an_interrupted_cancellation(api, monkeypatch):
    """The store fails after the first transaction, as if the server crashed."""
    batch = (await made(api, 5))["batch"]

    async def fails(*_):
        raise Error("STORE_UNAVAILABLE", "not now", retry_after_s=1)

    with monkeypatch.context() as patched:
        patched.setattr(type(api.store.batches), "cancel_some", fails)
        answer = await api.post(f"{PLACE}/{batch['id']}/cancel")
    assert (answer["cancelled"], answer["batch"]["status"]) == (True, "cancelling")
    worker, _ = await api.worker()
    assert (await api.claim(worker))["run"] is None
    late = api.task(request={"batch_id": batch["id"]})
    await api.refused(409, "BATCH_CLOSED", "POST", "/runs", late)
    monkeypatch.setattr(limits, "batch_cancel_rows_max", 2)
    assert [await finish_batches(api.app) for _ in range(4)] == [2, 2, 1, 0]
    assert (await read(api, batch))["status"] == "cancelled"


async def test_a_request_cancels_a_bounded_part_and_the_loop_the_rest(driver, monkeypatch):
    monkeypatch.setattr(limits, "batch_cancel_rows_max", 2)
    monkeypatch.setattr(limits, "batch_cancel_rounds_max", 2)
    batch = (await made(driver, 6))["batch"]
    answer = await driver.post(f"{PLACE}/{batch['id']}/cancel")
    assert (answer["batch"]["status"], shown(answer["batch"])) == (
        "cancelling",
        {"pending": 2, "cancelled": 4},
    )
    assert await finish_batches(driver.app) == 2


async def test_the_run_of_on_complete_is_created_once_with_the_outcome(api):
    after = {"target": "workflow:report", "config": {"to": "ada"}}
    batch = (await made(api, 2, on_complete=after, name="both"))["batch"]
    assert batch["on_complete"] == {**after, "run_id": None}
    await api.complete("run-0")
    assert await finish_batches(api.app) == 0
    await api.complete("run-1", "failed")
    assert await finish_batches(api.app) == 1
    assert await finish_batches(api.app) == 0
    found = await read(api, batch)
    run = await api.run(found["on_complete"]["run_id"])
    assert (run["kind"], run["target"], run["workflow_id"]) == ("workflow", "workflow:report", "report")
    assert (run["status"], run["batch_id"], run["trigger_id"]) == ("pending", None, batch["id"])
    assert run["config"]["to"] == "ada"
    received = run["config"]["batch"]
    assert (received["id"], received["name"], received["status"], received["total"]) == (
        batch["id"],
        "both",
        "completed",
        2,
    )
    assert (received["status_counts"]["completed"], received["status_counts"]["failed"]) == (1, 1)
    assert found["total"] == 2


async def test_a_run_of_on_complete_that_was_created_before_a_crash_is_not_created_again(api):
    batch = (await made(api, 1, on_complete={"target": "task:report"}))["batch"]
    await api.complete("run-0")
    [due] = await api.store.batches.unfinished(10)
    await asyncio.gather(*(commands.follow_up(api.app, due) for _ in range(3)))
    await commands.follow_up(api.app, due)  # as another server would
    assert [run["target"] for run in (await api.get("/runs"))["data"]] == ["task:report", "task:count"]
    assert (await read(api, batch))["on_complete"]["run_id"] == due.follow_up_id


async def test_a_cancelled_batch_has_no_follow_up(driver):
    batch = (await made(driver, 2, on_complete={"target": "task:report"}))["batch"]
    await driver.post(f"{PLACE}/{batch['id']}/cancel")
    assert await finish_batches(driver.app) == 0
    assert (await read(driver, batch))["on_complete"]["run_id"] is None


# Following


def frames(text):
    """[(event, id, data)]"""
    found = []
    for block in text.split("\n\n"):
        received = dict(
            line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":")
        )
        if received:
            found.append((received["event"], received["id"], json.loads(received["data"])))
    return found


async def followed(api, batch, **options):
    response = await api.send("GET", f"{PLACE}/{batch['id']}/stream", **options)
    assert response.headers["content-type"].startswith("text/event-stream")
    return frames(response.text)


async def test_a_follower_receives_progress_and_the_end(api):
    batch = (await made(api, 3))["batch"]
    following = asyncio.ensure_future(followed(api, batch))
    await api.subscribed()
    for name in ("run-0", "run-1", "run-2"):
        await api.complete(name)
    found = await following
    assert [kind for kind, *_ in found] == ["progress"] * (len(found) - 1) + ["completed"]
    assert 2 <= len(found) <= 4
    _, _, first = found[0]
    _, _, last = found[-1]
    assert (first["batch_id"], first["total"]) == (batch["id"], 3)
    assert (shown(last), last["status"]) == ({"completed": 3}, "completed")
    assert last["completed_at"] is not None


async def test_quick_changes_are_sent_together(driver, monkeypatch):
    monkeypatch.setattr(limits, "batch_progress_interval_s", 0.5)
    batch = (await made(driver, 50))["batch"]
    following = asyncio.ensure_future(followed(driver, batch))
    await driver.subscribed()
    for n in range(50):
        await driver.complete(f"run-{n}")
    assert len(await following) < 10


async def test_a_reconnected_follower_gets_no_repeat_but_always_the_end(driver):
    batch = (await made(driver, 2))["batch"]
    following = asyncio.ensure_future(followed(driver, batch))
    await driver.subscribed()
    await driver.complete("run-0")
    await driver.complete("run-1")
    *_, (_, end, _) = await following
    assert [kind for kind, *_ in await followed(driver, batch)] == ["completed"]
    back = {"headers": {"Last-Event-ID": end}}
    assert [kind for kind, *_ in await followed(driver, batch, **back)] == ["completed"]
    other = (await made(driver, task(public_id="x")))["batch"]
    seen = {"headers": {"Last-Event-ID": "running.1.0.0.0.0.0"}}
    following = asyncio.ensure_future(followed(driver, other, **seen))
    await driver.subscribed()
    await driver.complete("x")
    assert [kind for kind, *_ in await following] == ["completed"]


async def test_a_quiet_batch_sends_heartbeats_and_a_lost_notification_only_delays(driver, monkeypatch):
    monkeypatch.setattr(limits, "stream_heartbeat_s", 0.05)
    monkeypatch.setattr(limits, "stream_poll_s", 0.02)
    batch = (await made(driver, 1))["batch"]
    path = f"{PLACE}/{batch['id']}/stream"
    monkeypatch.setattr(driver.app, "publish", lambda _: None)
    following = asyncio.ensure_future(driver.send("GET", path))
    await asyncio.sleep(0.3)
    await driver.complete("run-0")
    text = (await following).text
    assert ": heartbeat" in text
    assert frames(text)[-1][0] == "completed"


async def test_a_server_that_stops_ends_the_stream(driver):
    batch = (await made(driver, 1))["batch"]
    following = asyncio.ensure_future(followed(driver, batch))
    await driver.subscribed()
    driver.app.stop()
    assert [kind for kind, *_ in await following] == ["progress"]


async def test_new_ids_of_a_batch_are_neighbours_and_those_of_two_batches_are_not(api):
    starts = []
    for _ in range(2):
        ids = (await made(api, *[task()] * 20))["run_ids"]
        assert len({uuid.UUID(run_id.removeprefix("run_")) for run_id in ids}) == 20
        [start] = {run_id[:12] for run_id in ids}
        starts.append(start)
    assert starts[0] != starts[1]


@pytest.fixture
def held(api, monkeypatch):
    """Holds batches in the store until it is set. Its `entered` names their projects."""
    gate, create = asyncio.Event(), api.app.store.batches.create
    gate.entered = []

    async def waiting(batch, *others):
        gate.entered.append(batch.project_id)
        await gate.wait()
        return await create(batch, *others)

    monkeypatch.setattr(api.app.store.batches, "create", waiting)
    return gate


async def test_a_project_creates_one_batch_at_a_time_and_another_project_has_its_own_turn(api, held):
    ours = [asyncio.ensure_future(made(api, task())) for _ in range(3)]
    await eventually(lambda: held.entered and api.app.batch_slots.waiting == 2)
    place = PLACE.replace("inventory", "elsewhere")
    theirs = asyncio.ensure_future(api.post(place, {"runs": [task()]}, 202, by="other"))
    await eventually(lambda: len(held.entered) == 2)
    assert held.entered == [api.project.id, api.other.id]
    held.set()
    for answer in await asyncio.gather(*ours, theirs):
        assert answer["batch"]["total"] == 1


async def test_batches_that_wait_are_bounded_per_project(api, held):
    api.app.batch_slots = FairSlots(Bounds(2, 1, 10, 1, 10), "batches")
    tasks = [asyncio.ensure_future(made(api, task())) for _ in range(2)]
    await eventually(lambda: held.entered and api.app.batch_slots.waiting == 1)
    await api.refused(429, "PROJECT_BUSY", "POST", PLACE, {"runs": [task()]})
    held.set()
    await asyncio.gather(*tasks)
