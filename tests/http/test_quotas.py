"""Quotas: the operator sets them, and requests and new runs keep to them."""

import pytest

from runstead.commands.quota_enforcement import ProjectQuotas
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import ALL_SCOPES, Principal
from runstead.core.identity.quota import Quota
from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.http.framework.problems import STATUS
from runstead.ports.store import RunKey

pytestmark = pytest.mark.postgres

PATH = "/projects/inventory/quota"


@pytest.fixture
async def operator(api):
    """Sets quotas with a key that has the scope system."""

    async def put(status=200, **quota):
        response = await api.send("PUT", PATH, quota, by="system")
        assert response.status_code == status, response.text
        return {one["name"]: one for one in response.json()["data"]} if status == 200 else response.json()

    return put


async def test_a_project_without_quotas_shows_what_it_uses(api):
    await api.create()
    page = await api.get(PATH, by="read")
    found = {one["name"]: one for one in page["data"]}
    assert found["runs_pending"] == {"name": "runs_pending", "limit": None, "own": None, "used": 1}
    assert found["keys"]["used"] >= 5


async def test_only_a_caller_with_the_scope_system_sets_quotas(api):
    for by in ("admin", "default", "other"):
        await api.refused(403, "FORBIDDEN", "PUT", PATH, {"runs_pending": 5}, by=by)
    await api.refused(404, "NOT_FOUND", "GET", PATH, by="other")


async def test_a_wrong_quota_is_refused_and_names_the_bounds(api, operator):
    assert (await operator(400, runs_pending=0))["code"] == "INVALID_REQUEST"
    assert (await operator(400, runs=5))["code"] == "INVALID_REQUEST"
    assert (await operator(400, keys=10**9))["errors"][0]["path"] == "$.keys"


async def test_more_pending_runs_than_the_quota_are_refused_with_retry_after(api, operator):
    await operator(runs_pending=2)
    known = await api.create(api.task(public_id="known"))
    await api.create()
    response = await api.send("POST", "/runs", api.task())
    problem = api.problem(response, 429, "QUOTA_REACHED")
    assert "2 pending runs" in problem["detail"]
    assert response.headers["retry-after"] == "1"
    again = await api.post("/runs", api.task(public_id="known"), 202)
    assert (again["duplicate"], again["run"]["run_id"]) == (True, known["run_id"])
    batch = {"runs": [api.task() for _ in range(2)]}
    await api.refused(429, "QUOTA_REACHED", "POST", "/projects/inventory/batches", batch)


async def test_claimed_runs_make_room(api, operator):
    await operator(runs_pending=1)
    await api.claimed()
    api.app.quotas._pending.clear()  # a second later
    await api.create()


async def test_a_log_ends_at_the_quota_of_events(api, operator):
    await operator(events_per_run=3)
    run = await api.create()
    await api.append(run["run_id"], {"type": "CUSTOM", "name": "a"}, {"type": "CUSTOM", "name": "b"})
    body = {"events": [{"type": "CUSTOM", "name": "c"}]}
    await api.refused(400, "EVENT_LOG_FULL", "POST", f"/runs/{run['run_id']}/events", body)
    assert (await api.complete(run["run_id"]))["completed"]


async def test_requests_carry_what_is_left_and_are_refused_beyond_the_quota(api, operator):
    await operator(requests_per_minute=3)
    left = []
    for _ in range(3):
        response = await api.send("GET", "/runs")
        assert response.headers["ratelimit-policy"] == '"requests";q=3;w=60'
        left.append(response.headers["ratelimit"].split(";")[1])
    assert left == ["r=2", "r=1", "r=0"]
    response = await api.send("GET", "/runs")
    api.problem(response, 429, "RATE_LIMITED")
    assert 1 <= int(response.headers["retry-after"]) <= 20
    assert (await api.send("GET", "/runs", by="other")).status_code == 200


async def test_keys_and_members_are_limited_by_the_quota(api, operator):
    used = await operator(members=1)
    await operator(keys=used["keys"]["used"], members=1)
    await api.refused(409, "KEY_LIMIT_REACHED", "POST", "/projects/inventory/api-keys", {}, by="admin")
    path = "/projects/inventory/members"
    await api.post(path, {"user_id": "ada", "role": "viewer"}, 201, by="admin")
    body = {"user_id": "bob", "role": "viewer"}
    await api.refused(409, "MEMBER_LIMIT_REACHED", "POST", path, body, by="admin")


async def test_keys_and_members_are_limited_without_a_quota(api, operator, monkeypatch):
    used = await operator()
    monkeypatch.setattr(limits, "keys_per_project_max", used["keys"]["used"] + 1)
    monkeypatch.setattr(limits, "members_per_project_max", 1)
    keys, members = "/projects/inventory/api-keys", "/projects/inventory/members"
    await api.post(keys, {}, 201, by="admin")
    problem = await api.refused(409, "KEY_LIMIT_REACHED", "POST", keys, {}, by="admin")
    assert f"at most {used['keys']['used'] + 1} keys" in problem["detail"]
    await api.post(members, {"user_id": "ada", "role": "viewer"}, 201, by="admin")
    body = {"user_id": "bob", "role": "viewer"}
    problem = await api.refused(409, "MEMBER_LIMIT_REACHED", "POST", members, body, by="admin")
    assert "at most 1 members" in problem["detail"]
    await api.post(members, {"user_id": "ada", "role": "member"}, 201, by="admin")  # a member may change


async def test_another_process_applies_a_stored_quota_when_its_loop_reads_it(api, operator):
    other = ProjectQuotas(api.store, Quota(streams=7))
    assert other.of(api.project.id).streams == 7
    await operator(streams=2)
    assert await other.refresh() >= 1
    assert other.of(api.project.id).streams == 2
    await operator()
    await other.refresh()
    assert other.of(api.project.id).streams == 7


async def test_a_quota_of_the_instance_applies_to_every_project_without_its_own(api):
    quotas = ProjectQuotas(api.store, Quota(requests_per_minute=1), clock=lambda: 0.0)
    for project in ("a", "b"):
        caller = Principal("api_key", project, {project: ALL_SCOPES})
        assert quotas.take_request(caller).remaining == 0
        with pytest.raises(Error) as refused:
            quotas.take_request(caller)
        assert STATUS[refused.value.code] == 429


@pytest.fixture
async def limited(api):
    """Creates a key with quotas. Returns the key and its path."""

    async def create(**quotas):
        made = await api.post("/projects/inventory/api-keys", quotas, 201, by="admin")
        return made["key"], f"/projects/inventory/api-keys/{made['id']}"

    return create


async def test_a_key_keeps_to_its_own_quota_of_requests_and_another_does_not_notice(api, limited):
    key, path = await limited(requests_per_minute=2)
    left = [(await api.send("GET", "/runs", by=key)).headers["ratelimit"].split(";")[1] for _ in range(2)]
    assert left == ["r=1", "r=0"]
    problem = api.problem(await api.send("GET", "/runs", by=key), 429, "RATE_LIMITED")
    assert problem["detail"].startswith("The key may send 2 requests per minute")
    await api.get("/runs", by="read")
    changed = await api.send("PATCH", path, {"requests_per_minute": None}, by="admin")
    assert changed.json()["requests_per_minute"] is None
    assert "ratelimit" not in (await api.send("GET", "/runs", by=key)).headers


async def test_a_key_creates_no_more_runs_a_minute_than_its_quota(api, limited):
    key, path = await limited(runs_per_minute=3)
    run = await api.create(by=key)
    await api.complete(run["run_id"])
    batch = {"runs": [api.task() for _ in range(3)]}
    problem = await api.refused(429, "RATE_LIMITED", "POST", "/projects/inventory/batches", batch, by=key)
    assert problem["detail"].startswith("The key may create 3 runs per minute")
    await api.create(by=key)
    response = await api.send("POST", f"/runs/{run['run_id']}/retry", by=key)
    assert response.status_code == 202
    response = await api.send("POST", "/runs", api.task(), by=key)
    api.problem(response, 429, "RATE_LIMITED")
    assert 1 <= int(response.headers["retry-after"]) <= 20
    await api.create()  # with another key
    await api.refused(403, "FORBIDDEN", "PATCH", path, {"runs_per_minute": None}, by=key)


async def test_a_key_cannot_change_its_own_quota(api, limited):
    key, path = await limited(scopes=["admin"], runs_per_minute=1)
    await api.refused(403, "FORBIDDEN", "PATCH", path, {"runs_per_minute": 5}, by=key)
    await api.refused(400, "INVALID_REQUEST", "PATCH", path, {"runs_per_minute": 0}, by="admin")
    unknown, once = path.rsplit("/", 1)[0] + "/unknown", {"Idempotency-Key": "once"}
    response = await api.send("PATCH", unknown, {"runs_per_minute": 5}, by="admin", headers=once)
    api.problem(response, 404, "NOT_FOUND")


async def test_new_runs_of_a_project_are_limited_per_minute(api, operator):
    await operator(runs_per_minute=2)
    await api.create(by="write")
    await api.create(by="default")
    problem = await api.refused(429, "RATE_LIMITED", "POST", "/runs", api.task(), by="default")
    assert problem["detail"].startswith("The project may create 2 runs per minute")


async def test_a_log_ends_at_the_quota_of_bytes(api, operator):
    await operator(event_bytes_per_run=1_000)
    run = await api.create()
    await api.append(run["run_id"], {"type": "CUSTOM", "name": "a", "value": "x" * 600})
    body = {"events": [{"type": "CUSTOM", "name": "b", "value": "x" * 600}]}
    problem = await api.refused(400, "EVENT_LOG_FULL", "POST", f"/runs/{run['run_id']}/events", body)
    assert "1,000 bytes" in problem["detail"]
    await api.append(run["run_id"], {"type": "CUSTOM", "name": "c"})  # a smaller one has room
    assert (await api.complete(run["run_id"]))["completed"]
    stored = await api.store.runs.get(RunKey(api.project.id, run["run_id"]))
    events = await api.store.runs.events(stored.seq, 0, 100)
    assert stored.event_bytes == sum(len(event.payload) for event in events)


async def test_artifacts_of_a_project_end_at_the_quota_of_bytes(api, operator, tmp_path):
    """The sum follows replaced artifacts and deleted runs."""
    api.app.artifacts = FilesystemArtifacts(tmp_path / "artifacts")
    await api.app.artifacts.open()
    await operator(artifact_bytes=100)
    first, second = await api.create(), await api.create()

    async def put(run, name, size, status=200):
        path = f"/runs/{run['run_id']}/artifacts/{name}"
        response = await api.send("PUT", path, b"x" * size, headers={"Content-Type": "text/plain"})
        assert response.status_code == status, response.text
        uses = {one["name"]: one["used"] for one in (await api.get(PATH, by="read"))["data"]}
        return uses["artifact_bytes"], response.json().get("code")

    assert await put(first, "a", 60) == (60, None)
    assert await put(second, "b", 41, 409) == (60, "ARTIFACT_LIMIT_REACHED")
    assert await put(first, "a", 90) == (90, None)
    assert await put(first, "a", 50) == (50, None)
    assert await put(second, "b", 50) == (100, None)
    assert len([path for path in (tmp_path / "artifacts" / "runs").rglob("*") if path.is_file()]) == 2
    await api.complete(first["run_id"])
    assert (await api.send("DELETE", f"/runs/{first['run_id']}", by="admin")).status_code == 200
    assert await put(second, "c", 50) == (100, None)
