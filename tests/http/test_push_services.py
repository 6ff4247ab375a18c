"""Registration of push services, and authorization."""

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from runstead.commands.keys import make_key
from runstead.core import limits
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import new_key
from runstead.security.egress import Egress

from .pushed import PAIR

WHERE = "/agent-runtimes/push-services"


def body(project_id=None, **members):
    given = {"service_name": "svc", "service_key": "svc:1", "scope_kind": "project", "project_id": project_id}
    given |= {
        "base_url": "https://svc.example.com",
        "invoke_url": "https://svc.example.com/api/runs",
    } | members
    return {name: value for name, value in given.items() if value is not None}


async def test_a_registration_returns_the_whole_service(api):
    made = (await api.post(WHERE, body(api.project.slug, agent_id="scribe", version="1.2"), 201))["service"]
    moment = "2026-03-20T12:00:00.000Z"
    assert made.pop("id")
    assert made == {
        "service_name": "svc",
        "service_key": "svc:1",
        "scope_kind": "project",
        "scope_key": f"project:{api.project.id}",
        "project_id": api.project.id,
        "agent_id": "scribe",
        "base_url": "https://svc.example.com",
        "invoke_url": "https://svc.example.com/api/runs",
        "status": "active",
        "capabilities": None,
        "metadata": None,
        "version": "1.2",
        "runtime": None,
        "region": None,
        "last_heartbeat_at": moment,
        "last_success_at": None,
        "last_success_run_id": None,
        "last_error_at": None,
        "last_error_run_id": None,
        "last_error": None,
        "created_at": moment,
        "updated_at": moment,
    }


async def test_the_same_key_updates_the_service(api):
    first = (await api.post(WHERE, body(api.project.id, version="1", region="eu"), 201))["service"]
    api.clock.advance(5)
    second = (await api.post(WHERE, body(api.project.id, version="2"), 201))["service"]
    assert (second["id"], second["created_at"]) == (first["id"], first["created_at"])
    assert (second["version"], second["region"]) == ("2", None)
    assert second["updated_at"] > first["updated_at"]
    assert len((await api.get(WHERE))["data"]) == 1


async def test_the_same_key_in_another_scope_is_another_service(api):
    """A caller who knows a service_key must not take over the service."""
    mine = (await api.post(WHERE, body(api.project.id), 201))["service"]
    whole = body(scope_kind="global")
    ours = (await api.post(WHERE, whole, 201))["service"]
    theirs = (await api.post(WHERE, {**whole, "invoke_url": "https://evil.example.com/"}, 201, by="other"))[
        "service"
    ]
    foreign = (await api.post(WHERE, body(api.other.id), 201, by="other"))["service"]
    assert len({one["id"] for one in (mine, ours, theirs, foreign)}) == 4
    assert (ours["scope_key"], ours["project_id"]) == ("global", None)
    shown = (await api.get(f"{WHERE}/{ours['id']}"))["service"]
    assert shown["invoke_url"] == whole["invoke_url"]


async def test_a_new_key_of_the_same_project_keeps_a_global_service(api):
    first = (await api.post(WHERE, body(scope_kind="global"), 201))["service"]
    second = (await api.post(WHERE, body(scope_kind="global"), 201, by="admin"))["service"]
    assert first["id"] == second["id"]
    await api.post(f"{WHERE}/{first['id']}/heartbeat", by="write")


async def test_a_users_global_service_is_the_users_own(api):
    ada, bob = await api.member("ada"), await api.member("bob")
    made = (await api.post(WHERE, body(scope_kind="global"), 201, by=ada))["service"]
    path = f"{WHERE}/{made['id']}"
    assert (await api.get(path, by=bob))["service"]["id"] == made["id"]
    await api.refused(404, "NOT_FOUND", "POST", f"{path}/heartbeat", by=bob)
    await api.refused(404, "NOT_FOUND", "DELETE", path, by=bob)
    await api.post(f"{path}/heartbeat", by=ada)


async def test_a_heartbeat_restricts_a_global_service_to_what_its_user_may_write_now(api):
    ada = await api.member("ada")
    made = (await api.post(WHERE, body(scope_kind="global"), 201, by=ada))["service"]
    assert [one["id"] for one in (await api.get(WHERE))["data"]] == [made["id"]]
    await api.store.identity.remove_member(api.project.id, "ada", lambda *_: None)
    api.authenticator.forget()
    await api.post(f"{WHERE}/{made['id']}/heartbeat", by=ada)
    assert (await api.get(WHERE))["data"] == []


@pytest.mark.parametrize("by", ["read", "workers"])
async def test_registering_needs_the_scope_to_write_runs(api, by):
    await api.refused(403, "FORBIDDEN", "POST", WHERE, body(api.project.id), by=by)
    await api.refused(403, "FORBIDDEN", "POST", WHERE, body(scope_kind="global"), by=by)


async def test_a_project_and_a_service_of_others_are_not_found(api):
    made = (await api.post(WHERE, body(api.project.id), 201))["service"]
    path = f"{WHERE}/{made['id']}"
    await api.refused(404, "NOT_FOUND", "POST", WHERE, body(api.project.id), by="other")
    await api.refused(404, "NOT_FOUND", "POST", f"{path}/heartbeat", by="other")
    await api.refused(404, "NOT_FOUND", "GET", path, by="other")
    await api.refused(404, "NOT_FOUND", "DELETE", path, by="other")
    await api.refused(404, "NOT_FOUND", "GET", f"{WHERE}?project={api.project.slug}", by="other")
    assert (await api.get(WHERE, by="other"))["data"] == []
    await api.refused(404, "NOT_FOUND", "POST", f"{WHERE}/nowhere/heartbeat")


async def test_a_project_key_cannot_change_global_services(api):
    made = (await api.post(WHERE, body(api.project.id), 201))["service"]
    path = f"{WHERE}/{made['id']}"
    assert (await api.get(path, by="read"))["service"]["id"] == made["id"]
    assert len((await api.get(f"{WHERE}?project={api.project.slug}", by="read"))["data"]) == 1
    await api.refused(403, "FORBIDDEN", "POST", f"{path}/heartbeat", by="read")
    await api.refused(403, "FORBIDDEN", "DELETE", path, by="read")


async def test_a_token_of_one_run_cannot_access_services(api):
    made = (await api.post(WHERE, body(api.project.id), 201))["service"]
    bound = api.token(projectId=api.project.id, runId="run_1")
    path = f"{WHERE}/{made['id']}"
    for method, where in (("POST", WHERE), ("GET", WHERE), ("GET", path), ("DELETE", path)):
        sent = (body(api.project.id),) if method == "POST" else ()
        await api.refused(403, "FORBIDDEN", method, where, *sent, by=bound)


async def test_a_disabled_service_stays_disabled_until_it_registers_again(api):
    made = (await api.post(WHERE, body(api.project.id), 201))["service"]
    path = f"{WHERE}/{made['id']}"
    response = await api.send("DELETE", path)
    assert (response.status_code, response.json()["service"]["status"]) == (200, "disabled")
    assert (await api.post(f"{path}/heartbeat"))["service"]["status"] == "disabled"
    assert (await api.post(WHERE, body(api.project.id), 201))["service"]["status"] == "active"


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"service_key": "k" * 129}, "$.service_key"),
        ({"service_name": ""}, "$.service_name"),
        ({"scope_kind": "galaxy"}, "$.scope_kind"),
        ({"invoke_url": "ftp://svc.example.com"}, "$.invoke_url"),
        ({"invoke_url": "https://ada:secret@svc.example.com/"}, "$.invoke_url"),
        ({"invoke_url": "https:///runs"}, "$.invoke_url"),
        ({"invoke_url": "https://svc.example.com/#a"}, "$.invoke_url"),
        ({"base_url": "http://127.0.0.1:80"}, "$.base_url"),
        ({"invoke_url": "http://[::ffff:10.0.0.1]/"}, "$.invoke_url"),
        ({"invoke_url": "http://2130706433/"}, "$.invoke_url"),
        ({"invoke_url": "http://localhost:9000/"}, "$.invoke_url"),
        ({"scope_kind": "global"}, "$.project_id"),
        ({"project_id": None}, "$.project_id"),
    ],
)
async def test_forbidden_urls_and_malformed_members_are_refused(api, members, path):
    api.app.egress = Egress()
    sent = {name: value for name, value in {**body(api.project.id), **members}.items() if value is not None}
    problem = await api.refused(400, "INVALID_REQUEST", "POST", WHERE, sent)
    assert [error["path"] for error in problem["errors"]] == [path]
    assert (await api.get(WHERE))["data"] == []


async def test_the_error_of_a_refused_url_does_not_show_its_password(api):
    problem = await api.refused(
        400,
        "INVALID_REQUEST",
        "POST",
        WHERE,
        body(api.project.id, invoke_url="https://ada:secret@x.example/"),
    )
    assert "secret" not in str(problem)


async def test_a_project_has_a_limit_of_services(api, monkeypatch):
    monkeypatch.setattr(limits, "push_services_per_project_max", 2)
    for number in range(2):
        await api.post(WHERE, body(api.project.id, service_key=f"k{number}"), 201)
    one_more = body(api.project.id, service_key="k2")
    await api.refused(409, "TOO_MANY_PUSH_SERVICES", "POST", WHERE, one_more)
    await api.post(WHERE, body(api.project.id, service_key="k1"), 201)
    assert len((await api.get(WHERE))["data"]) == 2


async def test_a_repeat_with_an_idempotency_key_registers_once(api):
    headers = {"Idempotency-Key": "register-1"}
    first = await api.post(WHERE, body(api.project.id), 201, headers=headers)
    api.clock.advance(1)
    assert await api.post(WHERE, body(api.project.id), 201, headers=headers) == first


# Keys


async def test_the_jwks_needs_no_credential_and_has_no_private_keys(api):
    await api.store.signing_keys.add(PAIR, only_first=True)
    keys = (await api.get("/.well-known/jwks.json", by=None))["keys"]
    assert [(key["kty"], key["alg"], key["use"]) for key in keys] == [
        (one["kty"], one["alg"], "sig") for one in keys
    ]
    assert {key["alg"] for key in keys} == {"EdDSA", "RS256"}
    assert all({"d", "p", "q"}.isdisjoint(key) for key in keys)
    assert {key["kid"] for key in keys} == {key.kid for key in PAIR}
    for key in keys:
        assert jwt.PyJWK(key).key


async def test_signing_keys_are_created_on_first_use_and_kept(api):
    assert await api.store.signing_keys.all() == []
    first = await api.get("/.well-known/jwks.json", by=None)
    assert len(await api.store.signing_keys.all()) == 2
    assert await api.get("/.well-known/jwks.json", by=None) == first
    pems = await api.app.keyring.public_pems()
    assert all(load_pem_public_key(pem.encode()) for pem in pems.values())


async def test_a_key_that_may_only_write_registers(api):
    secret = new_key()
    key = make_key(secret, api.project.id, frozenset({Scope.RUNS_WRITE}))
    await api.store.identity.create_key(key)
    await api.post(WHERE, body(api.project.id), 201, by=secret)
