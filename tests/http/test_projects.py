"""Projects, their API keys and their members."""

import asyncio

import pytest

from runstead.core.identity.project import token_hash

pytestmark = pytest.mark.postgres


async def test_a_key_of_the_instance_creates_a_project_and_gets_its_first_key(api):
    response = await api.send("POST", "/projects", {"slug": "third", "name": "Third"}, by="system")
    assert response.status_code == 201
    made = response.json()
    assert (made["slug"], made["name"]) == ("third", "Third")
    assert response.headers["location"] == f"/projects/{made['id']}"
    shown = await api.get(response.headers["location"], by=made["api_key"])
    assert shown == {name: value for name, value in made.items() if name != "api_key"}
    owner = {"kind": "project", "id": made["id"]}
    await api.create({**api.task(), "owner": owner}, by=made["api_key"])
    await api.refused(404, "NOT_FOUND", "GET", f"/projects/{made['id']}", by="system")
    await api.refused(403, "FORBIDDEN", "POST", "/projects", {"slug": "fourth"}, by=made["api_key"])


async def test_a_user_becomes_the_admin_of_a_created_project(api):
    ada = api.token("ada")
    made = await api.post("/projects", {"slug": "adas"}, 201, by=ada)
    assert (made["name"], made["api_key"]) == ("adas", None)
    members = (await api.get(f"/projects/{made['id']}/members", by=ada))["data"]
    assert [(member["user_id"], member["role"]) for member in members] == [("ada", "admin")]


async def test_keys_of_a_project_and_narrowed_tokens_create_no_projects(api):
    """The attack: a token for reading runs, or for one project, creates a project and administers it."""
    _, worker = await api.worker()
    for by in ("read", "write", "workers", "default", "admin", worker):
        await api.refused(403, "FORBIDDEN", "POST", "/projects", {"slug": "third"}, by=by)
    await api.member("ada", role="admin")
    run = await api.create()
    narrowed = [
        {"scopes": ["runs:read"]},
        {"scope": "openid profile"},
        {"scopes": ["runs:read", "runs:write", "workers"]},
        {"projectId": api.project.id},
        {"projectId": api.project.id, "scopes": ["admin"]},
        {"runId": run["run_id"]},
    ]
    for claims in narrowed:
        token = api.token("ada", **claims)
        await api.refused(403, "FORBIDDEN", "POST", "/projects", {"slug": "third"}, by=token)
    await api.post("/projects", {"slug": "third"}, 201, by=api.token("ada", scopes=["admin"]))


async def test_a_user_creates_as_many_projects_as_the_quota_allows(api):
    ada = api.token("ada")
    await api.post("/conversations", {}, 201, by=ada)  # the personal project does not count
    made = [await api.send("POST", "/projects", {"slug": f"p-{n}"}, by=ada) for n in range(5)]
    assert [one.status_code for one in made] == [201, 201, 201, 409, 409]
    problem = api.problem(made[3], 409, "PROJECT_LIMIT_REACHED")
    assert "3 projects" in problem["detail"]
    await api.post("/projects", {"slug": "bobs"}, 201, by=api.token("bob"))


async def test_two_requests_at_once_do_not_pass_the_quota(api):
    ada = api.token("ada")
    made = await asyncio.gather(
        *(api.send("POST", "/projects", {"slug": f"p-{n}"}, by=ada) for n in range(12))
    )
    assert sorted(one.status_code for one in made) == [201] * 3 + [409] * 9


async def test_administrators_of_the_instance_have_no_quota(api):
    for n in range(5):
        await api.post("/projects", {"slug": f"r-{n}"}, 201, by=api.token("root"))
        await api.post("/projects", {"slug": f"k-{n}"}, 201, by="system")
    for claims in ({"scopes": ["runs:read"]}, {"projectId": api.project.id}):
        token = api.token("root", **claims)
        await api.refused(403, "FORBIDDEN", "POST", "/projects", {"slug": "third"}, by=token)


async def test_only_the_scope_system_gives_the_scope_system(api):
    keys = f"/projects/{api.project.id}/api-keys"
    body = {"scopes": ["runs:read", "system"]}
    await api.member("ada", role="admin")
    for by in ("admin", api.token("ada")):
        await api.refused(403, "FORBIDDEN", "POST", keys, body, by=by)
    key = (await api.post(keys, body, 201, by="system"))["key"]
    await api.post("/projects", {"slug": "third"}, 201, by=key)
    await api.refused(403, "FORBIDDEN", "POST", "/runs", api.task(), by=key)
    await api.refused(404, "NOT_FOUND", "GET", "/projects/elsewhere", by=key)


async def test_a_slug_is_unique(api):
    for slug in ("inventory", "elsewhere"):
        await api.refused(409, "PROJECT_SLUG_TAKEN", "POST", "/projects", {"slug": slug}, by="system")


@pytest.mark.parametrize("slug", ["", "A", "a b", "-a", "a-", "a_b", "a\n", "é", "a/b", "x" * 64, None, 7])
async def test_malformed_slugs_are_refused(driver, slug):
    await driver.refused(400, "INVALID_REQUEST", "POST", "/projects", {"slug": slug}, by="admin")


async def test_a_project_is_found_by_id_and_by_slug(api):
    shown = await api.get(f"/projects/{api.project.id}")
    assert shown == await api.get("/projects/inventory")
    assert (shown["id"], shown["slug"], shown["name"]) == (api.project.id, "inventory", "Inventory")


async def test_the_callers_projects_are_listed(api):
    ada = await api.member("ada")
    await api.member("ada", api.other)

    async def slugs(by):
        return [project["slug"] for project in (await api.get("/projects", by=by))["data"]]

    assert await slugs("default") == ["inventory"]
    assert sorted(await slugs(ada)) == ["elsewhere", "inventory"]
    assert await slugs(api.token("eve")) == []


async def test_a_key_is_shown_once_and_stored_as_a_hash(api):
    body = {"name": "CI", "scopes": ["runs:read", "workers"], "expires_at": "2026-03-21T00:00:00Z"}
    made = await api.post(f"/projects/{api.project.id}/api-keys", body, 201, by="admin")
    key = made["key"]
    assert key.startswith(f"vf_{made['prefix']}_")
    assert (made["name"], made["scopes"]) == ("CI", ["runs:read", "workers"])
    assert made["expires_at"] == "2026-03-21T00:00:00.000Z"
    response = await api.send("GET", f"/projects/{api.project.id}/api-keys", by="admin")
    assert key not in response.text
    assert key.rpartition("_")[2] not in response.text
    [listed] = [one for one in response.json()["data"] if one["id"] == made["id"]]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert (await api.store.identity.key_by_hash(token_hash(key))).id == made["id"]
    await api.get("/runs", by=key)
    await api.refused(403, "FORBIDDEN", "POST", "/runs", api.task(), by=key)
    api.clock.advance(86_400)
    await api.refused(401, "UNAUTHENTICATED", "GET", "/runs", by=key)


async def test_a_key_has_all_scopes_but_admin_by_default(api):
    made = await api.post("/projects/inventory/api-keys", {}, 201, by="admin")
    assert made["scopes"] == ["runs:read", "runs:write", "workers"]


async def test_a_revoked_key_is_refused_at_once(api):
    keys = f"/projects/{api.project.id}/api-keys"
    made = await api.post(keys, {}, 201, by="admin")
    await api.get("/runs", by=made["key"])
    response = await api.send("DELETE", f"{keys}/{made['id']}", by="admin")
    assert response.status_code == 200
    assert response.json()["revoked_at"].endswith("Z")
    await api.refused(401, "UNAUTHENTICATED", "GET", "/runs", by=made["key"])
    again = await api.send("DELETE", f"{keys}/{made['id']}", by="admin")
    assert again.json() == response.json()
    await api.refused(404, "NOT_FOUND", "DELETE", f"{keys}/unknown", by="admin")


async def test_the_last_use_of_a_key_is_shown(api):
    await api.get("/runs", by="read")
    await api.authenticator.flush()
    keys = (await api.get("/projects/inventory/api-keys", by="admin"))["data"]
    used = {key["name"]: key["last_used_at"] for key in keys}
    assert (used["read"], used["write"]) == ("2026-03-20T12:00:00.000Z", None)


BAD_KEYS = [
    {"scopes": []},
    {"scopes": ["everything"]},
    {"scopes": "runs:read"},
    {"scopes": ["admin"] * 17},
    {"name": ""},
    {"name": "a\0b"},
    {"expires_at": "2026-03-21"},
    {"expires_at": 5},
]


@pytest.mark.parametrize("body", BAD_KEYS, ids=range(len(BAD_KEYS)))
async def test_malformed_keys_are_refused(driver, body):
    path = f"/projects/{driver.project.id}/api-keys"
    await driver.refused(400, "INVALID_REQUEST", "POST", path, body, by="admin")
    assert await driver.nothing_stored()


async def test_members_are_added_changed_and_removed(api):
    members = f"/projects/{api.project.id}/members"
    eve = api.token("eve")
    await api.refused(404, "NOT_FOUND", "GET", "/projects/inventory", by=eve)
    made = await api.post(members, {"user_id": "eve"}, 201, by="admin")
    at = "2026-03-20T12:00:00.000Z"
    assert made["user_id"] == "eve"
    assert made["role"] == "member"
    run = await api.create(by=eve)
    await api.post(members, {"user_id": "eve", "role": "viewer"}, 201, by="admin")
    await api.run(run["run_id"], by=eve)
    await api.refused(403, "FORBIDDEN", "POST", f"/runs/{run['run_id']}/cancel", by=eve)
    listed = (await api.get(members, by="read"))["data"]
    assert [(member["user_id"], member["role"]) for member in listed] == [("eve", "viewer")]
    assert len(listed[0]["created_at"]) == len(at)
    response = await api.send("DELETE", f"{members}/eve", by="admin")
    assert (response.status_code, response.json()) == (200, {"removed": True})
    await api.refused(404, "NOT_FOUND", "GET", f"/runs/{run['run_id']}", by=eve)
    await api.refused(404, "NOT_FOUND", "DELETE", f"{members}/eve", by="admin")


async def test_the_last_admin_cannot_be_removed(api):
    made = await api.post("/projects", {"slug": "adas"}, 201, by=api.token("ada"))
    members, ada = f"/projects/{made['id']}/members", api.token("ada", jti="2")
    body = {"user_id": "ada", "role": "viewer"}
    await api.refused(409, "LAST_ADMIN", "POST", members, body, by=ada)
    await api.refused(409, "LAST_ADMIN", "DELETE", f"{members}/ada", by=ada)
    await api.post(members, {"user_id": "bob", "role": "admin"}, 201, by=ada)
    assert (await api.send("DELETE", f"{members}/ada", by=ada)).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"user_id": ""}, {"user_id": "a\nb"}, {"user_id": "eve", "role": "king"}]
)
async def test_malformed_members_are_refused(driver, body):
    path = f"/projects/{driver.project.id}/members"
    await driver.refused(400, "INVALID_REQUEST", "POST", path, body, by="admin")
    assert await driver.nothing_stored()


ADMIN = [
    ("POST", "api-keys", {}),
    ("GET", "api-keys", ...),
    ("DELETE", "api-keys/k", ...),
    ("POST", "members", {"user_id": "eve"}),
    ("DELETE", "members/eve", ...),
]


@pytest.mark.parametrize(("method", "place", "body"), ADMIN, ids=range(len(ADMIN)))
async def test_only_admins_administer(api, method, place, body):
    for by in ("read", "default", await api.member("ada")):
        await api.refused(403, "FORBIDDEN", method, f"/projects/inventory/{place}", body, by=by)
