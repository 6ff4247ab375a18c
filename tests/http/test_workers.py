"""`/agent-workers…`: register workers, claim runs, renew and release leases."""

import asyncio

import pytest

from runstead.core import limits
from runstead.loops.liveness import watch

pytestmark = pytest.mark.postgres

WORKER = """id project_id implementation_kind worker_key display_name status metadata last_heartbeat_at created_at
updated_at"""
WORKER_RUN = """run_id conversation_id message_id project_id agent_id status request_snapshot source_target_kind
source_target_environment_id source_target_branch_id source_target_release_version runtime_target_kind
runtime_target_environment_id runtime_target_branch_id latest_event_id latest_external_event_sequence lease_owner
lease_expires_at worker_session attempt lease_token"""
SESSION = "id run_id implementation_kind worker_id session_key status metadata created_at updated_at ended_at"
LEASE = {"lease_duration_seconds": 60}


async def test_a_worker_registers_and_gets_a_token_of_its_own(api):
    body = {
        "implementation_kind": "claude",
        "worker_key": "driver:1.a_b",
        "display_name": "StoreDriver",
        "metadata": {"a": 1},
    }
    body["implementation_display_name"] = "Claude"
    path = f"/agent-workers/projects/{api.project.id}/workers"
    first = await api.post(path, body, 201)
    worker = first["worker"]
    assert set(WORKER.split()) <= set(worker)
    assert {name: worker[name] for name in body} == body
    assert (worker["project_id"], worker["status"]) == (api.project.id, "active")
    again = await api.post(path.replace(api.project.id, "inventory"), {**body, "display_name": "New"}, 201)
    assert again["worker"]["id"] == worker["id"]
    assert again["worker"]["display_name"] == "New"
    assert again["token"] != first["token"]
    for token in (first["token"], again["token"]):
        answer = await api.post(f"/agent-workers/workers/{worker['id']}/heartbeat", by=token)
        assert answer["token"] is None


async def test_a_heartbeat_marks_the_worker_as_active(api):
    worker, token = await api.worker()
    api.clock.advance(5)
    answer = await api.post(f"{worker}/heartbeat", by=token)
    assert list(answer) == ["worker", "token"]
    assert answer["worker"]["last_heartbeat_at"] == "2026-03-20T12:00:05.000Z"


BAD_WORKERS = [
    {},
    {"implementation_kind": "", "worker_key": "k"},
    {"implementation_kind": "x" * 65, "worker_key": "k"},
    {"implementation_kind": "a b", "worker_key": "k"},
    {"implementation_kind": "a\n", "worker_key": "k"},
    {"implementation_kind": "a", "worker_key": "k\n"},
    {"implementation_kind": "a", "worker_key": "x" * 129},
    {"implementation_kind": "a", "worker_key": "k/k"},
    {"implementation_kind": "a", "worker_key": "k", "metadata": "text"},
    {"implementation_kind": "a", "worker_key": "k", "display_name": "a\0b"},
]


@pytest.mark.parametrize("body", BAD_WORKERS, ids=range(len(BAD_WORKERS)))
async def test_a_malformed_worker_is_not_registered(driver, body):
    path = "/agent-workers/projects/inventory/workers"
    await driver.refused(400, "INVALID_REQUEST", "POST", path, body)


async def test_an_agent_run_is_claimed_with_all_that_a_worker_needs(api):
    request = {"implementation_kind": "claude", "source_target_kind": "project", "input": {"messages": [1]}}
    run, path = await api.agent_run(request=request)
    worker, token = await api.worker("claude")
    answer = await api.post(f"{worker}/claim", LEASE, by=token)
    taken = answer["run"]
    assert answer["runs"] == [taken]
    assert set(WORKER_RUN.split()) <= set(taken)
    assert (taken["run_id"], taken["status"], taken["attempt"]) == (run["run_id"], "running", 1)
    assert (taken["lease_owner"], taken["lease_expires_at"]) == (
        worker.split("/")[-1],
        "2026-03-20T12:01:00.000Z",
    )
    shown = await api.get(path)
    shared = ("conversation_id", "message_id", "project_id", "agent_id", "source_target_kind")
    assert {name: taken[name] for name in shared} == {name: shown[name] for name in shared}
    snapshot = {"messages": [1], "tools": [], "context": []}
    assert (taken["request_snapshot"], taken["worker_session"]) == (snapshot, None)
    assert await api.post(f"{worker}/claim", LEASE, by=token) == {"run": None, "runs": []}


async def test_a_worker_reads_the_start_payload_in_the_form_that_published_clients_parse(api):
    payload = {
        "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}],
        "context": {"conversation_id": "c", "project_id": None, "branch_id": None},
        "durable_root_run": {"run_id": "r", "message_id": "m"},
        "forwarded_props": {"tone": "dry"},
    }
    await api.agent_run(request={"implementation_kind": "claude", "input": payload})
    worker, token = await api.worker("claude")
    taken = (await api.post(f"{worker}/claim", LEASE, by=token))["run"]
    assert taken["request_snapshot"] == {
        "messages": payload["messages"],
        "tools": [],
        "context": [payload["context"]],
        "forwardedProps": {"tone": "dry"},
    }


async def test_a_worker_claims_its_own_kind_and_key_oldest_first(api):
    conversation_id = await api.conversation()
    for name, kind, key in (
        ("other kind", "codex", None),
        ("other key", "claude", "elsewhere"),
        ("first", "claude", None),
        ("second", "claude", "driver"),
        ("no kind", None, None),
    ):
        request = {"implementation_kind": kind, "worker_key": key}
        await api.create(api.agent(conversation_id, public_id=name, request=request))
        api.clock.advance(1)
    worker, _ = await api.worker("claude", "driver")
    taken = [(await api.post(f"{worker}/claim", LEASE))["run"] for _ in range(3)]
    assert [run and run["run_id"] for run in taken] == ["first", "second", None]


async def test_kinds_and_targets_filter_claims(api):
    for name, kind in (("t1", "task"), ("w1", "workflow"), ("e1", "eval"), ("t2", "task")):
        await api.create(api.task(f"{kind}:{name}", public_id=name) | {"kind": kind})
        api.clock.advance(1)
    worker, _ = await api.worker()
    assert (await api.post(f"{worker}/claim", LEASE))[
        "run"
    ] is None  # agent runs only, as published clients expect

    async def claim(**body):
        return [run["run_id"] for run in (await api.post(f"{worker}/claim", {**LEASE, **body}))["runs"]]

    assert await claim(targets=["task:t2"]) == ["t2"]
    assert await claim(kinds=["workflow", "eval"], max_runs=5) == ["w1", "e1"]
    assert await claim(kinds=["task"], targets=["task:t2"]) == []
    assert await claim(kinds=["task", "agent"], max_runs=100) == ["t1"]


async def test_two_claims_never_get_the_same_run(api):
    for _ in range(20):
        await api.create()
    workers = [(await api.worker())[0] for _ in range(4)]
    answers = await asyncio.gather(*(api.claim(worker, max_runs=7) for worker in workers * 2))
    taken = [run["run_id"] for answer in answers for run in answer["runs"]]
    assert len(taken) == len(set(taken)) == 20


async def test_a_claim_can_wait_for_a_run(api):
    worker, _ = await api.worker()
    waiting = asyncio.create_task(api.claim(worker, wait_seconds=30))
    await api.subscribed()
    run = await api.create()
    async with asyncio.timeout(30):
        assert (await waiting)["run"]["run_id"] == run["run_id"]


async def test_a_waiting_claim_ends_with_the_server(api):
    worker, _ = await api.worker()
    waiting = asyncio.create_task(api.claim(worker, wait_seconds=30))
    await api.subscribed()
    api.app.stopping.set()
    async with asyncio.timeout(30):
        assert await waiting == {"run": None, "runs": []}


async def test_a_worker_that_is_removed_while_its_claim_waits_gets_no_run(api):
    worker, token = await api.worker()
    claim = {"lease_duration_seconds": 60, "kinds": ["task"], "wait_seconds": 30}
    waiting = asyncio.create_task(api.send("POST", f"{worker}/claim", claim, by=token))
    await api.subscribed()
    assert (await api.send("DELETE", worker)).status_code == 200
    run = await api.create()
    async with asyncio.timeout(30):
        api.problem(await waiting, 404, "NOT_FOUND")
    assert (await api.run(run["run_id"]))["status"] == "pending"


async def test_an_empty_claim_answers_at_the_end_of_its_wait(driver):
    worker, _ = await driver.worker()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await driver.claim(worker, wait_seconds=1))["run"] is None
    assert 0.9 < loop.time() - began < 5


BAD_CLAIMS = [
    {"lease_duration_seconds": 4},
    {"lease_duration_seconds": 301},
    {"lease_duration_seconds": 60.5},
    {"lease_duration_seconds": "60"},
    {"kinds": ["job"]},
    {"kinds": "task"},
    {"targets": ["a\0b"]},
    {"targets": [""]},
    {"targets": ["task:a"] * 101},
    {"wait_seconds": -1},
    {"wait_seconds": 31},
    {"max_runs": 0},
    {"max_runs": 101},
]


@pytest.mark.parametrize("body", BAD_CLAIMS, ids=range(len(BAD_CLAIMS)))
async def test_a_malformed_claim_claims_nothing(driver, body):
    run = await driver.create()
    worker, _ = await driver.worker()
    await driver.refused(400, "INVALID_REQUEST", "POST", f"{worker}/claim", {"kinds": ["task"], **body})
    assert await driver.run(run["run_id"]) == run


async def test_a_lease_is_renewed_until_it_is_lost(api):
    taken, worker = await api.claimed()
    lease = f"{worker}/runs/{taken['run_id']}/lease"
    api.clock.advance(30)
    renewed = (await api.post(lease, {"lease_duration_seconds": 5}))["run"]
    assert renewed["lease_expires_at"] == "2026-03-20T12:00:35.000Z"
    assert (renewed["attempt"], renewed["lease_token"]) == (1, None)
    await api.pass_time(6)
    assert await api.post(lease, LEASE) == {"run": None}
    another, _ = await api.worker()
    assert await api.post(f"{another}/runs/{taken['run_id']}/lease", LEASE) == {"run": None}


async def test_a_renewal_with_the_wrong_proof_renews_nothing(api):
    taken, worker = await api.claimed()
    lease = f"{worker}/runs/{taken['run_id']}/lease"
    before = await api.run(taken["run_id"])
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", lease, {"attempt": 2})
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", lease, {}, headers={"X-Lease-Token": "forged"})
    for body in ({"lease_duration_seconds": 4}, {"lease_duration_seconds": 5.5}, {"attempt": 0}):
        await api.refused(400, "INVALID_REQUEST", "POST", lease, body)
    assert await api.run(taken["run_id"]) == before


async def test_a_lost_lease_requeues_the_run_until_no_attempts_are_left(api):
    taken, worker = await api.claimed(backoff_limit=1)
    await api.pass_time(60)
    run = await api.run(taken["run_id"])
    assert (run["status"], run["lease_owner"], run["lease_expires_at"]) == ("pending", None, None)
    assert run["available_at"] > "2026-03-20T12:01:00.000Z"
    assert (await api.claim(worker))["run"] is None
    api.clock.advance(1)
    assert (await api.claim(worker))["run"]["attempt"] == 2
    await api.pass_time(60)
    run = await api.run(taken["run_id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "LEASE_EXPIRED")
    detail = run["error"]["detail"]
    assert (detail["reason"], detail["attempts"], detail["last_event_id"]) == ("lease_expired", 2, 0)
    assert detail["lease_owner"] == worker.split("/")[-1]
    assert detail["last_heartbeat_at"] == "2026-03-20T12:01:01.000Z"


async def test_an_attempt_that_takes_too_long_fails_with_timeout(api):
    taken, _ = await api.claimed(timeout_seconds=10)
    await api.pass_time(10)
    run = await api.run(taken["run_id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "TIMEOUT")


async def test_a_worker_may_release_a_run(api):
    taken, worker = await api.claimed(backoff_limit=1)
    release = f"{worker}/runs/{taken['run_id']}/release"
    answer = await api.post(release, {"error": "rebooting", "retry_after_seconds": 7, "attempt": 1})
    assert answer["run"]["status"] == "pending"
    run = await api.run(taken["run_id"])
    assert run["available_at"] == "2026-03-20T12:00:07.000Z"
    await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", release, {})
    api.clock.advance(7)
    await api.claim(worker)
    await api.post(release)
    run = await api.run(taken["run_id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "ATTEMPTS_EXHAUSTED")


@pytest.mark.parametrize(
    "body", [{"retry_after_seconds": -1}, {"retry_after_seconds": 86_401}, {"attempt": 0}]
)
async def test_a_malformed_release_releases_nothing(driver, body):
    taken, worker = await driver.claimed()
    path = f"{worker}/runs/{taken['run_id']}/release"
    await driver.refused(400, "INVALID_REQUEST", "POST", path, body)


async def test_a_worker_that_lost_its_run_cannot_change_the_next_attempt(api):
    lost, first = await api.claimed()
    run = f"/runs/{lost['run_id']}"
    await api.pass_time(60)
    api.clock.advance(1)
    second, _ = await api.worker()
    taken = (await api.claim(second))["run"]
    assert taken["attempt"] == 2
    assert taken["lease_token"] != lost["lease_token"]
    writes = [
        (f"{run}/events", {"events": [{"type": "A"}]}),
        (f"{run}/complete", {"status": "completed"}),
        (f"{run}/wait", {"reason": "tool"}),
        (f"{run}/heartbeats", {"attempt": 1}),
        (f"{first}/runs/{lost['run_id']}/release", {}),
    ]
    before = await api.get(run)
    for path, body in writes:
        await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", path, {**body, "attempt": 1})
        headers = {"X-Lease-Token": lost["lease_token"]}
        await api.refused(409, "ATTEMPT_SUPERSEDED", "POST", path, {"attempt": 2} | body, headers=headers)
    body = {"session_key": "s"}
    await api.refused(409, "ATTEMPT_SUPERSEDED", "PUT", f"{first}/runs/{lost['run_id']}/session", body)
    assert await api.get(run) == before
    headers = {"X-Lease-Token": taken["lease_token"]}
    await api.post(f"{run}/events", {"events": [{"type": "A"}], "attempt": 2}, headers=headers)
    assert (await api.post(f"{run}/complete", {"status": "completed"}, headers=headers))["completed"] is True


async def test_a_session_is_stored_and_found_by_the_next_attempt(api):
    taken, worker = await api.claimed()
    path = f"{worker}/runs/{taken['run_id']}"
    session = (await api.put(f"{path}/session", {"session_key": "s" * 512, "metadata": {"a": 1}}))["session"]
    assert set(SESSION.split()) == set(session)
    assert (session["run_id"], session["worker_id"]) == (taken["run_id"], worker.split("/")[-1])
    assert (session["status"], session["ended_at"], session["metadata"]) == ("active", None, {"a": 1})
    assert (await api.post(f"{path}/lease", LEASE))["run"]["worker_session"] == session
    api.clock.advance(1)
    ended = (await api.put(f"{path}/session", {"session_key": "s", "status": "failed"}))["session"]
    assert (ended["id"], ended["status"]) == (session["id"], "failed")
    assert ended["ended_at"] == "2026-03-20T12:00:01.000Z"
    await api.post(f"{path}/release", {"retry_after_seconds": 0})
    another, _ = await api.worker()
    assert (await api.claim(another))["run"]["worker_session"] == ended


BAD_SESSIONS = [{}, {"session_key": ""}, {"session_key": "s" * 513}, {"session_key": "s", "status": "done"}]


@pytest.mark.parametrize("body", BAD_SESSIONS, ids=range(len(BAD_SESSIONS)))
async def test_a_malformed_session_is_not_stored(driver, body):
    taken, worker = await driver.claimed()
    await driver.refused(400, "INVALID_REQUEST", "PUT", f"{worker}/runs/{taken['run_id']}/session", body)


async def test_a_worker_token_is_valid_for_its_worker_only(api):
    worker, token = await api.worker()
    another, _ = await api.worker()
    run = await api.create()
    assert (await api.post(f"{worker}/claim", {"kinds": ["task"]}, by=token))["run"]
    await api.refused(404, "NOT_FOUND", "POST", f"{another}/claim", {}, by=token)
    await api.refused(404, "NOT_FOUND", "POST", f"{another}/heartbeat", by=token)
    run_path = f"/runs/{run['run_id']}"
    await api.refused(403, "FORBIDDEN", "GET", run_path, by=token)
    await api.refused(403, "FORBIDDEN", "POST", f"{run_path}/complete", {"status": "failed"}, by=token)
    register = "/agent-workers/projects/inventory/workers"
    body = {"implementation_kind": "a", "worker_key": "b"}
    await api.refused(403, "FORBIDDEN", "POST", register, body, by=token)
    headers = {"X-API-Key": token}
    response = await api.send("POST", f"{worker}/heartbeat", by=None, headers=headers)
    api.problem(response, 401, "UNAUTHENTICATED")


async def test_a_credential_that_may_write_the_project_acts_for_its_workers(api):
    worker, _ = await api.worker()
    await api.create()
    assert (await api.post(f"{worker}/claim", {"kinds": ["task"]}, by="write"))["run"]
    await api.post(f"{worker}/heartbeat", by="workers")
    await api.refused(403, "FORBIDDEN", "POST", f"{worker}/claim", {}, by="read")
    register = "/agent-workers/projects/inventory/workers"
    body = {"implementation_kind": "a", "worker_key": "b"}
    await api.refused(403, "FORBIDDEN", "POST", register, body, by="write")


@pytest.mark.parametrize("act", ["lease", "release"])
async def test_an_unknown_run_is_not_found_for_a_worker(api, act):
    worker, _ = await api.worker()
    await api.refused(404, "NOT_FOUND", "POST", f"{worker}/runs/unknown/{act}", {})
    await api.refused(404, "NOT_FOUND", "POST", f"/agent-workers/workers/unknown/runs/unknown/{act}", {})
    await api.refused(404, "NOT_FOUND", "PUT", f"{worker}/runs/unknown/session", {"session_key": "s"})


# Lists of workers


async def test_a_projects_workers_are_listed_in_pages_by_kind_and_key(api):
    for key in ("c", "a", "b"):
        await api.worker("node", key)
    await api.worker("claude", "z")
    path = f"/agent-workers/projects/{api.project.slug}/workers"
    first = await api.get(f"{path}?limit=3", by="read")
    assert [(one["implementation_kind"], one["worker_key"]) for one in first["data"]] == [
        ("claude", "z"),
        ("node", "a"),
        ("node", "b"),
    ]
    assert list(first["page_info"]) == ["self", "first", "next", "prev"]
    second = await api.get(path, params={"limit": 3, "cursor": first["page_info"]["next"]})
    assert [one["worker_key"] for one in second["data"]] == ["c"]
    assert second["page_info"]["next"] is None
    assert set(WORKER.split()) <= set(second["data"][0])


async def test_a_silent_worker_is_offline_until_its_next_request(api):
    silent, token = await api.worker("node", "silent")
    await api.worker("node", "heard")
    path = f"/agent-workers/projects/{api.project.slug}/workers"

    async def keys(status):
        return [one["worker_key"] for one in (await api.get(path, params={"status": status}))["data"]]

    api.clock.advance(limits.worker_silence_s + 1)
    heard = (await api.get(path))["data"][0]
    await api.claim(f"/agent-workers/workers/{heard['id']}")  # a claim shows that the worker is alive
    assert await api.app.worker_activity.flush() == 1
    assert await api.app.worker_activity.flush() == 0
    assert await watch(api.app) == 1
    assert (await keys("offline"), await keys("active")) == (["silent"], ["heard"])
    answer = await api.post(f"{silent}/heartbeat", by=token)
    assert answer["worker"]["status"] == "active"
    assert (await keys("offline"), await keys("active")) == ([], ["heard", "silent"])


async def test_workers_of_another_project_are_not_found(driver):
    path = f"/agent-workers/projects/{driver.project.id}/workers"
    await driver.refused(404, "NOT_FOUND", "GET", path, by="other")
    await driver.refused(401, "UNAUTHENTICATED", "GET", path, by=None)
    for query in ("cursor=x", "cursor=WzEsMl0", "limit=0", "limit=101", "status=asleep"):
        await driver.refused(400, "INVALID_REQUEST", "GET", f"{path}?{query}")


@pytest.mark.parametrize("by", ["worker", "run"])
async def test_the_renewal_of_a_lease_is_a_sign_of_life(driver, by):
    worker, _ = await driver.worker()
    run_id = (await driver.create())["run_id"]
    await driver.claim(worker)
    await driver.app.worker_activity.flush()
    driver.clock.advance(30)
    path = f"{worker}/runs/{run_id}/lease" if by == "worker" else f"/runs/{run_id}/heartbeats"
    await driver.post(path, LEASE if by == "worker" else {"attempt": 1})
    assert await driver.app.worker_activity.flush() == 1
    [seen] = (await driver.get(f"/agent-workers/projects/{driver.project.id}/workers"))["data"]
    assert seen["last_heartbeat_at"] == "2026-03-20T12:00:30.000Z"


async def test_a_worker_registers_its_version_and_a_claim_takes_it_over(api):
    path = f"/agent-workers/projects/{api.project.slug}"
    body = {"implementation_kind": "claude", "worker_key": "versioned", "version": "v1"}
    made = await api.post(f"{path}/workers", body, 201)
    assert made["worker"]["version"] == "v1"
    worker = f"/agent-workers/workers/{made['worker']['id']}"
    run = await api.create(api.task("task:v", public_id="kept", pinned=True))
    assert (run["worker_version"], run["pinned"]) == (None, True)
    await api.create(api.task("task:w", public_id="free"))
    await api.create(api.task("task:x", public_id="by target"))
    claimed = await api.claim(worker, max_runs=9, pinned_targets=["task:x"])
    assert len(claimed["runs"]) == 3
    shown = [await api.get(f"/runs/{run_id}") for run_id in ("kept", "free", "by target")]
    assert [(each["worker_version"], each["pinned"]) for each in shown] == [
        ("v1", True),
        ("v1", False),
        ("v1", True),
    ]
    for run_id in ("kept", "free"):
        await api.post(f"{worker}/runs/{run_id}/release", {"retry_after_seconds": 0})
    # The same worker with other code: at once, by its claim, and by its registration.
    assert [each["run_id"] for each in (await api.claim(worker, version="v2", max_runs=9))["runs"]] == [
        "free"
    ]
    await api.post(f"{worker}/runs/free/release", {"retry_after_seconds": 0})
    await api.post(f"{path}/workers", body | {"version": "v2"}, 201)
    assert [each["run_id"] for each in (await api.claim(worker, max_runs=9))["runs"]] == ["free"]
    counts = {"workers_online": 0, "runs_pending": 1, "runs_running": 2, "runs_waiting": 0, "pinned": 2}
    found = {each.pop("version"): each for each in await api.get(f"{path}/versions")}
    assert (found["v1"], found["v2"]["pinned"], found["v2"]["workers_online"]) == (counts, 0, 1)
    assert [each["run_id"] for each in (await api.claim(worker, version="v1"))["runs"]] == ["kept"]


async def test_targets_are_pinned_to_a_version_only(api):
    worker, _ = await api.worker()
    refused = await api.post(f"{worker}/claim", {"targets": ["task:t"], "pinned_targets": ["task:t"]}, 400)
    assert refused["errors"] == [{"path": "$.pinned_targets", "message": "needs a version"}]


@pytest.mark.parametrize("version", ["", "x" * 65, "a\n"])
async def test_a_version_is_a_short_text(api, version):
    body = {"implementation_kind": "a", "worker_key": "b", "version": version}
    await api.post(f"/agent-workers/projects/{api.project.slug}/workers", body, 400)
