"""Every route of the OpenAPI document, sent with every kind of credential.

The expected status follows from rules and from the table `NEEDS` of `tenants.py`, never from a handler.
"""

import asyncio
import re
import uuid

import jwt
import pytest

from runstead.commands.keys import make_key
from runstead.core.identity.issuer import Issuer
from runstead.core.identity.principal import INSTANCE_SCOPES, Scope
from runstead.core.identity.project import new_key

from .tenants import NEEDS, OF_THE_INSTANCE, SUFFICES, routes_of, rows_of, text_of, two_tenants
from .tokens import ED


@pytest.fixture
async def tenants(api, tmp_path):
    return await two_tenants(api, tmp_path)


async def key(api, project, *scopes, revoked=False, expires_at=None):
    """Store an API key and return it."""
    secret = new_key()
    made = make_key(secret, project.id, frozenset(scopes), expires_at=expires_at)
    await api.store.identity.create_key(made)
    if revoked:
        await api.store.identity.revoke_key(project.id, made.id, api.clock())
    return secret


async def sent(api, route, names, body, by):
    """Send a request. A stream that opens instead of being refused fails the test."""
    headers = {"If-Match": "*"}
    if route.path.endswith("/secrets"):
        headers["X-Lease-Token"] = "of an earlier attempt"  # else it is refused for every caller
    async with asyncio.timeout(30):
        return await api.send(route.method, route.line(names), body, by=by, headers=headers)


class Findings(list):
    """Collects what a request answered against the rules, so that one failure lists all routes."""

    def check(self, route, response, statuses, secrets=()):
        text = text_of(response)
        if response.status_code not in statuses:
            self.append(f"{route.name}: {response.status_code}, not one of {sorted(statuses)}: {text[:200]}")
        self.extend(f"{route.name}: shows {secret}" for secret in secrets if secret in text)

    def nothing_stored(self, before, after):
        for table, rows in after.items():
            added = set(rows) ^ set(before[table])
            self.extend(f"{table} changed: {row[:300]}" for row in sorted(added))

    def report(self):
        assert not self, "\n".join(self)


async def test_every_route_has_a_line_in_the_table(api):
    routes = {route.name: route for route in await routes_of(api)}
    assert set(routes) == set(NEEDS)
    assert {name for name, route in routes.items() if route.open} == {
        name for name, scope in NEEDS.items() if scope == "open"
    }


INVALID = ["none", "unknown key", "expired key", "revoked key", "expired token", "other issuer"]


@pytest.mark.parametrize("kind", INVALID)
async def test_a_credential_that_is_not_valid_gets_401_everywhere(api, tenants, kind):
    tenant, _ = tenants
    by = {
        "none": None,
        "unknown key": new_key(),
        "expired key": await key(api, api.project, *INSTANCE_SCOPES, expires_at=api.clock() - 1),
        "revoked key": await key(api, api.project, *INSTANCE_SCOPES, revoked=True),
        "expired token": api.token(tenant.names["user_id"], exp=api.clock() // 1000 - 1),
        "other issuer": jwt.encode(
            {"userId": tenant.names["user_id"], "exp": api.clock() // 1000 + 600}, ED, "EdDSA"
        ),
    }[kind]
    before, findings = await rows_of(api.store), Findings()
    for route in await routes_of(api):
        api.clock.advance(1)  # each second, an address may send one more unknown credential
        if not route.open:
            response = await sent(api, route, tenant.names, tenant.body(route), by)
            findings.check(route, response, {401}, tenant.secrets)
    findings.nothing_stored(before, await rows_of(api.store))
    findings.report()


async def reader(api, project, run_id, issuer):
    """An access token of a run and its family."""
    token, _ = await api.app.keyring.access_token(
        user_id="eve",
        issuer=issuer,
        project_id=project.id,
        run_id=run_id,
        valid_s=60,
        family=True,
    )
    return token


async def conversation_reader(api, tenant, issuer):
    """An access token of a conversation."""
    token, _ = await api.app.keyring.conversation_token(
        user_id="eve",
        issuer=issuer,
        project_id=tenant.project.id,
        conversation_id=tenant.names["conversation_id"],
        valid_s=60,
    )
    return token


async def callers_elsewhere(api, other):
    """Return credentials of another project: of each kind, with all that they can have there."""
    who = {"user_id": "eve", "service_id": other.names["service_id"], "project_id": other.project.id}
    who |= {"run_id": other.names["open_run_id"], "issuer": str(Issuer("push_service", who["service_id"]))}
    await api.member("eve", other.project, role="admin")
    return {
        "key": "other",
        "system key": await key(api, other.project, *INSTANCE_SCOPES),
        "admin": api.token("eve"),
        "narrowed admin": api.token("eve", projectId=other.project.id),
        "stranger": api.token("mallory"),
        "worker": other.worker_token,
        "run service": await api.app.keyring.service_token(**who),
        "event writer": await api.app.keyring.run_event_token(**who),
        "run reader": await reader(api, other.project, other.names["open_run_id"], who["issuer"]),
        "conversation reader": await conversation_reader(api, other, who["issuer"]),
    }


ELSEWHERE = [
    "key",
    "system key",
    "admin",
    "narrowed admin",
    "stranger",
    "worker",
    "run service",
    "event writer",
    "run reader",
    "conversation reader",
]
#: They act for one worker or one run: the refusal may be that, before the object is looked for.
BOUND = {"worker", "run service", "event writer", "run reader", "conversation reader"}


def answers_any_key(route, kind):
    """Whether the route answers each caller. An access token reads its run or conversation and nothing else."""
    return NEEDS[route.name] == "none" and not (
        kind.endswith("reader") and route.path.startswith("/projects")
    )


@pytest.mark.parametrize("kind", ELSEWHERE)
async def test_an_object_of_another_project_is_as_one_that_does_not_exist(api, tenants, kind):
    tenant, other = tenants
    by = (await callers_elsewhere(api, other))[kind]
    before, findings = await rows_of(api.store), Findings()
    for route in await routes_of(api):
        if route.open:
            continue
        if route.name in OF_THE_INSTANCE and kind == "system key":
            continue
        expected = {403, 404} if kind in BOUND else {404}
        if NEEDS[route.name] == "system":
            may_create = route.name == "POST /projects" and kind in {"system key", "admin", "stranger"}
            expected = {201} if may_create else {403}
        elif "{" not in route.path and (
            answers_any_key(route, kind) or (route.method == "GET" and kind not in BOUND)
        ):
            expected = {200}
        response = await sent(api, route, tenant.names, tenant.body(route), by)
        findings.check(route, response, expected, tenant.secrets)
        if "{" in route.path:
            unknown = dict.fromkeys(tenant.names, "unknown")
            other_text = text_of(await sent(api, route, unknown, tenant.body(route), by))
            if other_text != text_of(response):
                findings.append(f"{route.name}: shows that it exists: {text_of(response)}, {other_text}")
    findings.nothing_stored(about(tenant, before), about(tenant, await rows_of(api.store)))
    findings.report()


def about(tenant, rows):
    """Return the rows that name an object of the tenant."""
    return {
        table: [row for row in of_table if any(secret in row for secret in tenant.secrets)]
        for table, of_table in rows.items()
    }


SHARED = {"event_id", "name", "target", "token", "user_id"}  # a user may be removed from any project


async def test_a_path_with_objects_of_two_projects_is_not_found(api, tenants):
    """An object is looked for below the one before it in the path, and not by its id alone."""
    tenant, other = tenants
    before, findings = await rows_of(api.store), Findings()
    for route in await routes_of(api):
        parameters = set(re.findall(r"{(\w+)}", route.path)) - SHARED
        for foreign in parameters if len(parameters) > 1 else ():
            names = {**other.names, foreign: tenant.names[foreign]}
            response = await sent(api, route, names, other.body(route), "other")
            if response.status_code == 200 and response.json() == {"run": None}:
                continue  # a lease that is lost, as of a run that does not exist
            findings.check(route, response, {404}, tenant.secrets)
    findings.nothing_stored(about(tenant, before), about(tenant, await rows_of(api.store)))
    findings.report()


async def test_an_object_of_another_project_in_a_body_is_as_one_that_does_not_exist(api, tenants):
    tenant, other = tenants
    before, findings, tried = await rows_of(api.store), Findings(), set()
    for route in await routes_of(api):
        for name in set(tenant.names) - SHARED:
            if other.body(route, **{name: "?"}) == other.body(route):
                continue
            tried.add(route.name)
            answers = {}
            for value in (tenant.names[name], str(uuid.uuid4())):
                body = other.body(route, **{name: value})
                response = await sent(api, route, other.names, body, "other")
                findings.check(route, response, {400, 404}, tenant.secrets - {value})
                answers[response.status_code, text_of(response).replace(value, "?")] = True
            if len(answers) > 1:
                findings.append(f"{route.name}: {name} gets different answers: {list(answers)}")
    assert len(tried) >= 10, tried
    findings.nothing_stored(about(tenant, before), about(tenant, await rows_of(api.store)))
    findings.report()


async def test_an_object_of_another_project_in_a_query_is_as_one_that_does_not_exist(api, tenants):
    tenant, other = tenants
    findings, tried = Findings(), set()
    for route in await routes_of(api):
        for name in sorted(route.query & (set(tenant.names) - SHARED)):
            tried.add((route.name, name))
            answers = {}
            for value in (tenant.names[name], str(uuid.uuid4())):
                line = route.line(other.names)
                line += f"{'&' if '?' in line else '?'}{name}={value}"
                async with asyncio.timeout(30):
                    response = await api.send(route.method, line, other.body(route), by="other")
                expected = {404} if name == "project" else {200}
                findings.check(route, response, expected, tenant.secrets - {value})
                answers[text_of(response).replace(value, "?")] = True
            if len(answers) > 1:
                findings.append(f"{route.name}?{name}= gets different answers: {list(answers)}")
    assert len(tried) >= 10, tried
    findings.report()


async def test_a_batch_id_of_another_project_is_only_a_label(api, tenants):
    """Published clients send any UUID as the `batch_id` of a run."""
    tenant, other = tenants
    before = about(tenant, await rows_of(api.store))
    body = other.body(next(route for route in await routes_of(api) if route.name == "POST /runs"))
    body["request"]["batch_id"] = tenant.names["batch_id"]
    run = await api.create(body, by="other")
    await api.post(f"/runs/{run['run_id']}/complete", {"status": "failed"}, by="other")
    after = about(tenant, await rows_of(api.store))
    changed = {table for table in after if set(after[table]) - set(before[table])}
    assert changed <= {"runs", "run_terms", "run_index_changes", "webhook_deliveries"}  # of the other project
    batch = f"/projects/{api.project.id}/batches/{tenant.names['batch_id']}"
    for path in (batch, f"/runs?batch_id={tenant.names['batch_id']}"):
        assert run["run_id"] not in str(await api.get(path, by="admin"))
    assert (await api.get(batch, by="admin"))["status_counts"]["failed"] == 0


async def with_scope(api, tenant, kind, scope):
    """Return a key with this scope alone, or a token of an admin that is restricted to it."""
    if kind == "key":
        return await key(api, tenant.project, scope)
    return api.token(tenant.names["user_id"], scopes=[scope])


SCOPES = [("key", scope) for scope in Scope] + [("token", scope) for scope in Scope if scope != Scope.SYSTEM]


@pytest.mark.parametrize(("kind", "scope"), SCOPES)
async def test_a_scope_that_does_not_suffice_gets_403_and_stores_nothing(api, tenants, kind, scope):
    tenant, _ = tenants
    by = await with_scope(api, tenant, kind, scope)
    before, findings = await rows_of(api.store), Findings()
    for route in await routes_of(api):
        may_create = kind == "token" and scope == Scope.ADMIN and route.name == "POST /projects"
        if not route.open and not may_create and scope not in SUFFICES[NEEDS[route.name]]:
            response = await sent(api, route, tenant.names, tenant.body(route), by)
            findings.check(route, response, {403}, tenant.secrets)
    findings.nothing_stored(before, await rows_of(api.store))
    findings.report()


#: Refusals of a request that was allowed, since the requests before it changed the object.
OF_THE_STATE = {
    "ATTEMPT_SUPERSEDED",
    "BATCH_CLOSED",
    "BATCH_NOT_RETRIABLE",
    "EVENT_RUN_WAITING",
    "INPUT_REQUEST_NOT_OPEN",
    "RUN_ALREADY_WAITING",
    "RUN_HAS_CHILDREN",
    "RUN_NOT_ACTIVE",
}


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_scope_that_suffices_is_accepted(api, tenants, scope):
    """Proves that the requests of the other tests are refused for their callers alone."""
    tenant, _ = tenants
    by, refused = await key(api, api.project, scope), []
    routes = [route for route in await routes_of(api) if scope in SUFFICES.get(NEEDS[route.name], ())]
    for route in sorted(routes, key=lambda route: route.streams):
        if route.streams:
            api.app.stop()  # so that it ends after what is stored
        response = await sent(api, route, tenant.names, tenant.body(route), by)
        code = response.json()["code"] if response.status_code >= 400 else None
        if code == "NOT_FOUND" and route.path.endswith("/channel"):
            continue  # an earlier route removed the worker
        if code not in {None, *OF_THE_STATE}:
            refused.append(f"{route.name}: {text_of(response)[:300]}")
    assert not refused, "\n".join(refused)


async def test_a_token_of_another_worker_acts_for_that_worker_only(api, tenants):
    tenant, _ = tenants
    path, token = await api.worker()
    before, findings = await rows_of(api.store), Findings()
    for route in await routes_of(api):
        if route.open:
            continue
        expected = {200} if NEEDS[route.name] == "none" else {403, 404}
        response = await sent(api, route, tenant.names, tenant.body(route), token)
        findings.check(route, response, expected, () if expected == {200} else tenant.secrets)
        if "/workers/{worker_id}/runs/" in route.path:  # the run is another worker's
            names = tenant.names | {"worker_id": path.rpartition("/")[2]}
            response = await sent(api, route, names, tenant.body(route), token)
            if response.status_code != 200 or response.json() != {"run": None}:
                findings.check(route, response, {403, 404, 409}, tenant.secrets)
    findings.nothing_stored(before, await rows_of(api.store))
    findings.report()


@pytest.mark.parametrize("kind", ["run service", "event writer", "run reader", "user"])
async def test_a_token_of_another_run_reaches_nothing_of_this_run(api, tenants, kind):
    tenant, _ = tenants
    run = await api.create()
    who = {"user_id": "ada-inventory", "service_id": tenant.names["service_id"]}
    who |= {"issuer": str(Issuer("push_service", who["service_id"])), "project_id": api.project.id}
    by = {
        "run service": await api.app.keyring.service_token(**who, run_id=run["run_id"]),
        "event writer": await api.app.keyring.run_event_token(**who, run_id=run["run_id"]),
        "run reader": await reader(api, api.project, run["run_id"], who["issuer"]),
        "user": api.token("ada-inventory", runId=run["run_id"]),
    }[kind]
    before, findings = await rows_of(api.store), Findings()
    for route in await routes_of(api):
        if route.open or (kind == "run service" and route.name == "POST /conversations"):
            continue  # a push service creates conversations for children of its run
        expected = {200} if answers_any_key(route, kind) else {403, 404}
        response = await sent(api, route, tenant.names, tenant.body(route), by)
        findings.check(route, response, expected, () if expected == {200} else tenant.secrets)
    findings.nothing_stored(before, await rows_of(api.store))
    findings.report()
