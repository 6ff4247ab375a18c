"""Tokens that the server makes end with the key, member or push service that they were made for."""

import pytest

from runstead.core import limits
from tests.support.store_driver import push_service

from .pushed import PAIR

pytestmark = pytest.mark.postgres

EVENT = {"type": "CUSTOM", "name": "note", "value": 1}


async def registered(api, by, project=None):
    """Register a worker. Returns its path and its token."""
    body = {"implementation_kind": "claude", "worker_key": "revocable"}
    ref = (project or api.project).id
    made = await api.post(f"/agent-workers/projects/{ref}/workers", body, 201, by=by)
    return f"/agent-workers/workers/{made['worker']['id']}", made["token"]


async def child_token(api, by):
    """Create a run with a child. Returns the path of the child's events and a token for them."""
    await api.store.signing_keys.add(PAIR, only_first=True)
    parent = await api.create()
    child = await api.create(api.task(parent_run_id=parent["run_id"]))
    path = f"/runs/{parent['run_id']}/children/{child['run_id']}/event-writer-token"
    return f"/runs/{child['run_id']}/events", (await api.post(path, by=by))["run_event_token"]


async def key_of(api, **body):
    made = await api.post(f"/projects/{api.project.id}/api-keys", body, 201, by="admin")
    return made["key"], f"/projects/{api.project.id}/api-keys/{made['id']}"


async def both(api, by):
    """Return requests that a worker token and a run token of this caller allow, as (path, body, token)."""
    worker, token = await registered(api, by)
    events, writer = await child_token(api, by)
    return [(f"{worker}/heartbeat", ..., token), (events, {"events": [EVENT]}, writer)]


async def all_allowed(api, requests):
    for path, body, token in requests:
        await api.post(path, body, by=token)


async def all_refused(api, requests):
    for path, body, token in requests:
        problem = await api.refused(401, "UNAUTHENTICATED", "POST", path, body, by=token)
        assert "issuer" in problem["detail"]


async def test_a_revoked_key_ends_its_worker_tokens_and_its_run_tokens(api):
    key, address = await key_of(api)
    requests = await both(api, key)
    await all_allowed(api, requests)
    assert (await api.send("DELETE", address, by="admin")).status_code == 200
    await all_refused(api, requests)


async def test_an_expired_key_ends_its_worker_tokens_and_its_run_tokens(api):
    key, _ = await key_of(api, expires_at="2026-03-20T12:01:00.000Z")
    requests = await both(api, key)
    api.clock.advance(59)
    await all_allowed(api, requests)
    api.clock.advance(3)
    await all_refused(api, requests)


async def test_a_revocation_elsewhere_takes_effect_within_two_seconds(api):
    key, address = await key_of(api)
    requests = await both(api, key)
    await all_allowed(api, requests)
    await api.store.identity.revoke_key(api.project.id, address.rpartition("/")[2], api.clock())
    api.clock.advance(2)
    await all_refused(api, requests)


async def test_a_removed_member_loses_the_worker_tokens_and_the_run_tokens(api):
    requests = await both(api, await api.member("ada"))
    await all_allowed(api, requests)
    assert (
        await api.send("DELETE", f"/projects/{api.project.id}/members/ada", by="admin")
    ).status_code == 200
    await all_refused(api, requests)


async def test_a_member_who_becomes_a_viewer_loses_the_tokens(api):
    requests = await both(api, await api.member("ada"))
    body = {"user_id": "ada", "role": "viewer"}
    await api.post(f"/projects/{api.project.id}/members", body, 201, by="admin")
    await all_refused(api, requests)


async def test_the_token_of_a_childs_child_ends_with_the_first_issuer(api):
    key, address = await key_of(api)
    events, writer = await child_token(api, key)
    child = events.split("/")[2]
    grandchild = await api.create(api.task(parent_run_id=child))
    path = f"/runs/{child}/children/{grandchild['run_id']}/event-writer-token"
    made = (await api.post(path, by=writer))["run_event_token"]
    requests = [(f"/runs/{grandchild['run_id']}/events", {"events": [EVENT]}, made)]
    await all_allowed(api, requests)
    await api.send("DELETE", address, by="admin")
    await all_refused(api, requests)


async def test_a_user_of_a_claimed_project_registers_and_appends(api):
    requests = await both(api, api.token("stranger", projectId=api.project.id))
    await all_allowed(api, requests)


async def test_a_removed_user_of_a_claimed_project_has_no_access_until_added_again(api):
    """The admin removes a user who is no member: also the tokens that the user got end."""
    stranger = api.token("stranger", projectId=api.project.id)
    requests = await both(api, stranger)
    members = f"/projects/{api.project.id}/members"
    response = await api.send("DELETE", f"{members}/stranger", by="admin")
    assert (response.status_code, response.json()) == (200, {"removed": True})
    await api.refused(404, "NOT_FOUND", "GET", f"/projects/{api.project.id}", by=stranger)
    await all_refused(api, requests)
    await api.refused(404, "NOT_FOUND", "DELETE", f"{members}/stranger", by="admin")  # removed already
    (entry,) = (await api.get(f"/projects/{api.project.id}/audit?action=member.remove", by="admin"))["data"]
    assert (entry["object"], entry["change"]["after"].keys()) == (
        {"kind": "member", "id": "stranger"},
        {"removed_at"},
    )
    await api.post(members, {"user_id": "stranger", "role": "viewer"}, 201, by="admin")
    await api.get(f"/projects/{api.project.id}", by=stranger)


async def test_a_project_keeps_a_bounded_number_of_removed_users_that_were_no_members(api, monkeypatch):
    monkeypatch.setattr(limits, "removed_members_per_project_max", 1)
    members = f"/projects/{api.project.id}/members"
    await api.member("ada")
    assert (await api.send("DELETE", f"{members}/stranger", by="admin")).status_code == 200
    await api.refused(409, "MEMBER_LIMIT_REACHED", "DELETE", f"{members}/other", by="admin")
    assert (await api.send("DELETE", f"{members}/ada", by="admin")).status_code == 200


async def test_a_token_of_an_unknown_issuer_or_of_a_longer_life_is_refused(api):
    await api.store.signing_keys.add(PAIR, only_first=True)
    run = await api.create()
    who = {"user_id": "ada", "service_id": "svc", "project_id": api.project.id, "run_id": run["run_id"]}
    await api.store.push_services.register(push_service("svc", reach=(api.project.id,)))
    for issuer in ("push_service:other", "api_key:none", "member:eve", "root:ada"):
        token = await api.app.keyring.service_token(**who, issuer=issuer)
        await api.refused(401, "UNAUTHENTICATED", "GET", f"/runs/{run['run_id']}", by=token)
    pair = await api.app.keyring._current_pair()
    now = api.clock() // 1000
    claims = {
        "userId": "ada",
        "serviceAccountId": "svc",
        "actorType": "service_account",
        "tokenUse": "run_service",
        "projectId": api.project.id,
        "runId": run["run_id"],
        "scopes": [],
        "issuer": "claim:ada",
        "iat": now,
        "exp": now + limits.run_token_s + 1,
    }
    path = f"/runs/{run['run_id']}"
    await api.refused(401, "UNAUTHENTICATED", "GET", path, by=pair.sign("RS256", claims))
    await api.get(path, by=pair.sign("RS256", claims | {"exp": now + limits.run_token_s}))


async def test_a_worker_token_lives_while_the_worker_does_and_a_day_longer(api):
    worker, token = await registered(api, "default")
    for _ in range(3):
        api.clock.advance(limits.worker_token_s - 10)
        await api.post(f"{worker}/heartbeat", by=token)
    api.clock.advance(limits.worker_token_s + 1)
    problem = await api.refused(401, "UNAUTHENTICATED", "POST", f"{worker}/heartbeat", by=token)
    assert "expired" in problem["detail"]
    _, fresh = await registered(api, "default")
    await api.post(f"{worker}/heartbeat", by=fresh)
    await api.refused(401, "UNAUTHENTICATED", "POST", f"{worker}/heartbeat", by=token)


async def test_removing_a_worker_ends_its_token_and_its_attempts(api):
    run, worker = await api.claimed()
    removed = await api.send("DELETE", worker)
    assert removed.json() == {"removed": True, "attempts_ended": 1}
    stored = await api.run(run["run_id"])
    assert stored["status"] == "pending"
    attempts = (await api.get(f"/runs/{run['run_id']}/attempts"))["data"]
    assert attempts[-1]["outcome"] == "released"
    for method, path in (("POST", f"{worker}/heartbeat"), ("POST", f"{worker}/claim"), ("DELETE", worker)):
        await api.refused(404, "NOT_FOUND", method, path)
    await api.post(f"/runs/{run['run_id']}/complete", {"status": "completed", "attempt": 1}, 409)


async def test_a_removed_worker_registers_again_as_a_new_one(api):
    worker, token = await registered(api, "default")
    await api.send("DELETE", worker)
    await api.refused(401, "UNAUTHENTICATED", "POST", f"{worker}/heartbeat", by=token)
    again, fresh = await registered(api, "default")
    assert again != worker
    await api.post(f"{again}/heartbeat", by=fresh)


async def test_only_the_scope_workers_removes_a_worker(api):
    worker, token = await api.worker()
    for by, status in (("write", 403), ("read", 403), ("other", 404)):
        assert (await api.send("DELETE", worker, by=by)).status_code == status
    _, another = await api.worker()
    assert (await api.send("DELETE", worker, by=another)).status_code == 404
    assert (await api.send("DELETE", worker, by=token)).status_code == 200
