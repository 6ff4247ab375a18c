"""Tokens that the server signs for one run: what they allow, and that they allow nothing else."""

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from runstead.core import limits
from runstead.http.framework.app import operations
from runstead.security.signing import APPEND, new_pair
from tests.support.store_driver import push_service

from .pushed import PAIR

KEY = load_pem_private_key(PAIR[1].pem.encode(), None)
EVENT = {"type": "CUSTOM", "name": "note", "value": 1}


async def furnish(api):
    """Add the signing keys and the push service that tokens of these tests name."""
    await api.store.signing_keys.add(PAIR, only_first=True)
    await api.store.push_services.register(push_service("svc", reach=(api.project.id,)))


def signed(**claims):
    return jwt.encode(claims, KEY, "RS256", {"kid": PAIR[1].kid})


@pytest.fixture
async def tokens(api):
    await furnish(api)

    async def make(run_id, kind="run_event_token", project=None):
        who = {
            "user_id": "ada",
            "service_id": "svc",
            "issuer": "claim:ada",
            "project_id": (project or api.project).id,
        }
        return await getattr(api.app.keyring, kind)(**who, run_id=run_id)

    return make


def child_path(parent, child):
    return f"/runs/{parent['run_id']}/children/{child['run_id']}/event-writer-token"


async def test_a_writer_token_appends_under_both_routes(api, tokens):
    run, path = await api.agent_run()
    token = await tokens(run["run_id"])
    assert (await api.post(f"{path}/events", {"events": [EVENT]}, by=token))["latest_event_id"] == 1
    assert (await api.post(f"/runs/{run['run_id']}/events", {"events": [EVENT]}, by=token))[
        "latest_event_id"
    ] == 2


async def test_a_writer_token_is_valid_for_its_run_only(api, tokens):
    run, other = await api.create(), await api.create()
    token = await tokens(run["run_id"])
    await api.refused(
        403, "FORBIDDEN", "POST", f"/runs/{other['run_id']}/events", {"events": [EVENT]}, by=token
    )
    await api.refused(403, "FORBIDDEN", "POST", "/runs/nowhere/events", {"events": [EVENT]}, by=token)
    foreign = await tokens(run["run_id"], project=api.other)
    await api.refused(
        404, "NOT_FOUND", "POST", f"/runs/{run['run_id']}/events", {"events": [EVENT]}, by=foreign
    )


PUBLIC = {"/runs/event-types"}  # the same answer for all callers


@pytest.mark.parametrize(
    "operation",
    [o for o in operations() if not o.open and o.path not in PUBLIC],
    ids=lambda o: f"{o.method} {o.path}",
)
async def test_a_writer_token_is_refused_by_all_other_operations(driver, operation):
    await furnish(driver)
    parent, child = await driver.create(), None
    child = await driver.create(driver.task(parent_run_id=parent["run_id"]))
    conversation_id = await driver.conversation()
    who = {"user_id": "ada", "service_id": "svc", "issuer": "claim:ada", "project_id": driver.project.id}
    token = await driver.app.keyring.run_event_token(**who, run_id=parent["run_id"])
    names = {"run_id": parent["run_id"], "child_run_id": child["run_id"], "project": driver.project.slug}
    others = (
        "worker_id",
        "key_id",
        "user_id",
        "service_id",
        "event_id",
        "input_request_id",
        "schedule_id",
        "batch_id",
        "job_id",
    )
    others += ("alert_id", "webhook_id", "delivery_id", "trigger_id", "name", "budget_id", "target")
    names |= dict.fromkeys(others, "x")
    path = operation.path.format(conversation_id=conversation_id, **names)
    if path.endswith(("/events", "/event-writer-token")) and operation.method == "POST":
        return
    owner = {"kind": "project", "id": driver.project.id}
    body = {"kind": "task", "owner": owner, "request": {"target": "task:x"}, "status": "completed"}
    body |= {"implementation_kind": "x", "worker_key": "x", "lease_duration_seconds": 60, "session_key": "x"}
    body |= {
        "reason": "tool",
        "type": "tool_result",
        "tool_call_id": "x",
        "attempt": 1,
        "slug": "x",
        "user_id": "x",
    }
    body |= {"role": "viewer", "service_name": "s", "service_key": "s", "scope_kind": "project", "values": {}}
    body |= {
        "base_url": "https://a.example",
        "invoke_url": "https://a.example",
        "project_id": driver.project.id,
    }
    sent = () if operation.method in ("GET", "DELETE") else (body,)
    response = await driver.send(operation.method, path, *sent, by=token)
    if operation.path == "/projects/{project}" and operation.method == "GET":
        assert response.status_code == 200  # the name of its own project
    elif operation.path == "/projects" and operation.method == "GET":
        assert [one["id"] for one in response.json()["data"]] == [driver.project.id]
    else:
        assert response.status_code in (400, 401, 403, 404), response.text
    assert (await driver.run(parent["run_id"]))["status"] == "pending"


async def test_an_expired_token_is_refused(api, tokens):
    run = await api.create()
    token = await tokens(run["run_id"])
    api.clock.advance(limits.run_token_s - 1)
    await api.post(f"/runs/{run['run_id']}/events", {"events": [EVENT]}, by=token)
    api.clock.advance(1)
    problem = await api.refused(
        401, "UNAUTHENTICATED", "POST", f"/runs/{run['run_id']}/events", {"events": [EVENT]}, by=token
    )
    assert "expired" in problem["detail"]


@pytest.mark.parametrize("kind", ["run_event_token", "service_token"])
async def test_a_token_of_an_unknown_service_with_three_years_signed_with_a_stolen_key_is_refused(
    api, tokens, kind
):
    run = await api.create()
    claims = jwt.decode(await tokens(run["run_id"], kind), options={"verify_signature": False})
    path, now, years = f"/runs/{run['run_id']}/events", api.clock() // 1000, 3 * 365 * 86_400
    stolen = signed(**claims | {"serviceAccountId": "unknown", "exp": now + years})
    await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=stolen)
    (key,) = [one for one in await api.store.identity.keys(api.project.id) if one.name == "default"]
    for issuer in ({}, {"issuer": f"api_key:{key.id}"}):  # a live issuer does not make up for it
        unknown = signed(**claims | {"serviceAccountId": "unknown"} | issuer)
        await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=unknown)
    long = signed(**claims | {"exp": claims["iat"] + limits.run_token_s + 1})
    problem = await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=long)
    assert "valid for" in problem["detail"]
    await api.post(path, {"events": [EVENT]}, by=signed(**claims))


async def test_a_tampered_token_is_refused(api, tokens):
    run, other = await api.create(), await api.create()
    token = await tokens(run["run_id"])
    claims = jwt.decode(token, options={"verify_signature": False})
    head, _, signature = token.split(".")
    forged = jwt.encode({**claims, "runId": other["run_id"]}, "k" * 32, "HS256").split(".")[1]
    for bad in (f"{head}.{forged}.{signature}", f"{token[:-6]}AAAAAA"):
        path = f"/runs/{other['run_id']}/events"
        await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=bad)


async def test_a_token_of_another_key_is_refused(api, tokens):
    run = await api.create()
    claims = jwt.decode(await tokens(run["run_id"]), options={"verify_signature": False})
    stranger = new_pair(1)[1]
    for kid in (PAIR[1].kid, stranger.kid):
        bad = jwt.encode(claims, stranger.pem, "RS256", {"kid": kid})
        path = f"/runs/{run['run_id']}/events"
        await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=bad)


@pytest.mark.parametrize("scopes", [[], [APPEND, "runs:write"], ["runs:write"]])
async def test_a_writer_token_with_other_scopes_is_refused(api, tokens, scopes):
    run = await api.create()
    claims = jwt.decode(await tokens(run["run_id"]), options={"verify_signature": False})
    bad = jwt.encode({**claims, "scopes": scopes}, KEY, "RS256", {"kid": PAIR[1].kid})
    path = f"/runs/{run['run_id']}/events"
    await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=bad)


async def test_the_issuer_of_user_tokens_cannot_sign_such_tokens(api, tokens):
    """The key of user tokens is trusted for users, not for the server's own tokens."""
    run = await api.create()
    for use in ("run_event_writer", "run_service"):
        claims = {
            "serviceAccountId": "s",
            "projectId": api.project.id,
            "runId": run["run_id"],
            "tokenUse": use,
        }
        bad = api.token(scopes=[APPEND], iat=api.clock() // 1000, **claims)
        response = await api.send("POST", f"/runs/{run['run_id']}/events", {"events": [EVENT]}, by=bad)
        assert response.status_code in (401, 403)


async def test_a_terminal_run_refuses_events_of_a_token(api, tokens):
    run = await api.create()
    await api.complete(run["run_id"])
    token = await tokens(run["run_id"])
    path = f"/runs/{run['run_id']}/events"
    await api.refused(400, "EVENT_RUN_TERMINAL", "POST", path, {"events": [EVENT]}, by=token)


# Children


async def test_a_parents_token_gets_a_token_for_a_direct_child(api, tokens):
    parent = await api.create()
    child = await api.create(api.task(parent_run_id=parent["run_id"]))
    grandchild = await api.create(api.task(parent_run_id=child["run_id"]))
    token = await tokens(parent["run_id"])
    response = await api.send("POST", child_path(parent, child), by=token)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert list(response.json()) == ["run_event_token"]
    made = response.json()["run_event_token"]
    claims = jwt.decode(made, options={"verify_signature": False})
    assert (claims["runId"], claims["tokenUse"], claims["scopes"]) == (
        child["run_id"],
        "run_event_writer",
        [APPEND],
    )
    assert (claims["userId"], claims["serviceAccountId"]) == ("ada", "svc")
    await api.post(f"/runs/{child['run_id']}/events", {"events": [EVENT]}, by=made)
    await api.refused(
        403, "FORBIDDEN", "POST", f"/runs/{parent['run_id']}/events", {"events": [EVENT]}, by=made
    )
    descendant = await api.post(child_path(child, grandchild), by=made)
    await api.post(
        f"/runs/{grandchild['run_id']}/events", {"events": [EVENT]}, by=descendant["run_event_token"]
    )


async def test_only_direct_children_are_found(api, tokens):
    parent, stranger = await api.create(), await api.create()
    child = await api.create(api.task(parent_run_id=parent["run_id"]))
    grandchild = await api.create(api.task(parent_run_id=child["run_id"]))
    token = await tokens(parent["run_id"])
    for run in (grandchild, stranger, parent, {"run_id": "nowhere"}):
        await api.refused(404, "NOT_FOUND", "POST", child_path(parent, run), by=token)
    await api.refused(403, "FORBIDDEN", "POST", child_path(stranger, child), by=token)


async def test_an_ended_child_gets_no_token(api, tokens):
    parent = await api.create()
    child = await api.create(api.task(parent_run_id=parent["run_id"]))
    await api.complete(child["run_id"])
    problem = await api.refused(
        410, "RUN_NOT_ACTIVE", "POST", child_path(parent, child), by=await tokens(parent["run_id"])
    )
    assert "completed" in problem["detail"]


async def test_a_writer_of_the_parent_gets_a_childs_token(api, tokens):
    parent = await api.create()
    child = await api.create(api.task(parent_run_id=parent["run_id"]))
    made = await api.post(child_path(parent, child))
    await api.post(f"/runs/{child['run_id']}/events", {"events": [EVENT]}, by=made["run_event_token"])
    await api.refused(403, "FORBIDDEN", "POST", child_path(parent, child), by="read")
    await api.refused(404, "NOT_FOUND", "POST", child_path(parent, child), by="other")


# The token of a service


async def test_a_service_token_is_valid_for_its_run_and_descendants(api, tokens):
    run, _ = await api.agent_run()
    stranger = await api.create()
    token = await tokens(run["run_id"], "service_token")
    made = await api.post("/conversations", {"project_id": api.project.id}, 201, by=token)
    child = await api.create(api.agent(made["id"], parent_run_id=run["run_id"]), by=token)
    own = run["conversation_id"]
    descendant = await api.create(api.agent(own, parent_run_id=child["run_id"]), by=token)
    for one in (run, child, descendant):
        assert (await api.run(one["run_id"], by=token))["run_id"] == one["run_id"]
        await api.post(f"/runs/{one['run_id']}/events", {"events": [EVENT]}, by=token)
    await api.post(child_path(run, child), by=token)
    await api.post(f"/runs/{child['run_id']}/complete", {"status": "completed"}, by=token)
    for method, path in (("GET", ""), ("POST", "/cancel"), ("GET", "/events")):
        await api.refused(404, "NOT_FOUND", method, f"/runs/{stranger['run_id']}{path}", by=token)


async def test_a_service_token_is_refused_for_parents_and_siblings(api, tokens):
    top = await api.create()
    run = await api.create(api.task(parent_run_id=top["run_id"]))
    beside = await api.create(api.task(parent_run_id=top["run_id"]))
    token = await tokens(run["run_id"], "service_token")
    for one in (top, beside):
        await api.refused(404, "NOT_FOUND", "GET", f"/runs/{one['run_id']}", by=token)
        await api.refused(404, "NOT_FOUND", "POST", "/runs", api.task(parent_run_id=one["run_id"]), by=token)
    await api.refused(403, "FORBIDDEN", "POST", "/runs", api.task(), by=token)
    taken = api.task(public_id=beside["run_id"], parent_run_id=run["run_id"])
    await api.refused(409, "RUN_ID_CONFLICT", "POST", "/runs", taken, by=token)
    await api.refused(403, "FORBIDDEN", "GET", "/runs", by=token)


async def test_a_service_token_reaches_the_conversations_of_its_run_only(api, tokens):
    """A run in a conversation adds a message to it, which its members read."""
    run, _ = await api.agent_run()
    other, _ = await api.agent_run()
    chat = await api.conversation(project_id=api.project.id)
    token = await tokens(run["run_id"], "service_token")
    elsewhere = await tokens(other["run_id"], "service_token")
    made = (await api.post("/conversations", {"project_id": api.project.id}, 201, by=elsewhere))["id"]
    for foreign in (chat, other["conversation_id"], made):
        body = api.agent(foreign, parent_run_id=run["run_id"])
        await api.refused(404, "NOT_FOUND", "POST", "/runs", body, by=token)
        asked = {"run_id": run["run_id"], "tool_call_id": "c", "kind": "form", "title": "T"}
        asked |= {
            "requested_responder_type": "human",
            "fields": [{"type": "text", "name": "a", "label": "A"}],
        }
        await api.refused(
            404, "NOT_FOUND", "POST", f"/conversations/{foreign}/input-requests", asked, by=token
        )
        assert (await api.get(f"/conversations/{foreign}"))["message_count"] == (
            foreign == other["conversation_id"]
        )
    child = await api.create(api.agent(made, parent_run_id=other["run_id"]), by=elsewhere)
    below = await tokens(child["run_id"], "service_token")
    await api.create(api.agent(made, parent_run_id=child["run_id"]), by=below)


async def test_disabling_a_service_ends_its_tokens(api, tokens):
    body = {"service_name": "s", "service_key": "s", "scope_kind": "project", "project_id": api.project.id}
    body |= {"base_url": "https://a.example", "invoke_url": "https://a.example/runs"}
    service = (await api.post("/agent-runtimes/push-services", body, 201))["service"]
    run = await api.create()
    who = {
        "user_id": "ada",
        "project_id": api.project.id,
        "run_id": run["run_id"],
        "service_id": service["id"],
        "issuer": f"push_service:{service['id']}",
    }
    made = [await api.app.keyring.service_token(**who), await api.app.keyring.run_event_token(**who)]
    path = f"/runs/{run['run_id']}/events"
    for token in made:
        await api.post(path, {"events": [EVENT]}, by=token)
    await api.send("DELETE", f"/agent-runtimes/push-services/{service['id']}")
    for token in made:
        await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=token)


async def test_old_tokens_stay_valid_after_a_rotation(api, tokens):
    run = await api.create()
    old = await tokens(run["run_id"])
    await api.app.keyring.rotate()
    new = await tokens(run["run_id"])
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    for token in (old, new):
        await api.post(f"/runs/{run['run_id']}/events", {"events": [EVENT]}, by=token)
    assert len((await api.get("/.well-known/jwks.json", by=None))["keys"]) == 4


@pytest.mark.parametrize(
    "claims",
    [
        {"userId": None},
        {"userId": ""},
        {"serviceAccountId": 7},
        {"serviceAccountId": "a\0b"},
        {"projectId": ["p"]},
        {"runId": {}},
        {"runId": "\ud800"},
        {"scopes": "all"},
        {"scopes": [1]},
        {"iat": "now"},
        {"exp": None},
        {"exp": 1e300},
        {"exp": True},
    ],
    ids=repr,
)
async def test_malformed_claims_under_the_servers_own_key_are_refused(api, tokens, claims):
    run = await api.create()
    for kind in ("run_event_token", "service_token"):
        valid = jwt.decode(await tokens(run["run_id"], kind), options={"verify_signature": False})
        for each in (claims, dict.fromkeys(claims, msgspec.UNSET)):
            changed = {name: value for name, value in (valid | each).items() if value is not msgspec.UNSET}
            bad = jwt.encode(changed, KEY, "RS256", {"kid": PAIR[1].kid})
            path = f"/runs/{run['run_id']}/events"
            await api.refused(401, "UNAUTHENTICATED", "POST", path, {"events": [EVENT]}, by=bad)
