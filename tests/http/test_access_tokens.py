"""Access tokens: what a browser gets reads one run, or one conversation, and nothing else."""

import re

import pytest

from .tenants import NEEDS, routes_of


@pytest.fixture
async def family(api):
    """A run with a child, and a grandchild; and a sibling of the run."""
    names = {"root": (await api.create(api.task("task:root")))["run_id"]}
    for name, parent in (("child", "root"), ("grandchild", "child"), ("sibling", None)):
        more = {} if parent is None else {"parent_run_id": names[parent]}
        names[name] = (await api.create(api.task(f"task:{name}", **more)))["run_id"]
        await api.post(
            f"/runs/{names[name]}/events", {"events": [{"type": "CUSTOM", "name": name, "value": 1}]}
        )
    return names


async def token(api, run_id, status=201, by=None, **body):
    options = {} if by is None else {"by": by}
    body = {"expires_in_seconds": 60} | body
    return (await api.post(f"/runs/{run_id}/access-tokens", body, status, **options)).get("token")


async def test_it_reads_the_run_and_its_events(api, family):
    made = await api.send("POST", f"/runs/{family['child']}/access-tokens", {"expires_in_seconds": 60})
    assert made.headers["cache-control"] == "no-store"
    assert made.json()["expires_at"] == "2026-03-20T12:01:00.000Z"
    by = made.json()["token"]
    path = f"/runs/{family['child']}"
    assert (await api.get(path, by=by))["run_id"] == family["child"]
    [event] = (await api.get(f"{path}/events", by=by))["data"]
    assert event["payload"]["name"] == "child"
    assert (await api.get(f"{path}/events/1", by=by))["event_id"] == 1
    assert (await api.get(f"{path}/events/summary", by=by))["total"] == 1
    for other in ("root", "grandchild", "sibling"):
        await api.refused(404, "NOT_FOUND", "GET", f"/runs/{family[other]}", by=by)
        await api.refused(404, "NOT_FOUND", "GET", f"/runs/{family[other]}/stream", by=by)
    await api.refused(403, "FORBIDDEN", "GET", f"{path}/events?include_descendants=true", by=by)


async def test_without_the_family_it_reads_no_children(api, family):
    by = await token(api, family["child"])
    for path in ("children?fields=run_id,input", "tree"):
        refused = await api.refused(403, "FORBIDDEN", "GET", f"/runs/{family['child']}/{path}", by=by)
        assert "get a token with `family`" in refused["detail"]


async def test_with_the_family_it_reads_the_descendants_and_not_the_ancestors(api, family):
    by = await token(api, family["child"], family=True)
    found = (await api.get(f"/runs/{family['child']}/tree", by=by))["data"]
    assert [run["run_id"] for run in found] == [family["child"], family["grandchild"]]
    assert (await api.get(f"/runs/{family['grandchild']}", by=by))["run_id"] == family["grandchild"]
    events = (await api.get(f"/runs/{family['child']}/events?include_descendants=true", by=by))["data"]
    assert len(events) == 2
    for other in ("root", "sibling"):
        await api.refused(404, "NOT_FOUND", "GET", f"/runs/{family[other]}", by=by)


READ = {"", "/events", "/events/summary", "/events/{event_id}", "/stream", "/children", "/tree"}


async def test_no_other_route_accepts_it(api, family):
    """Also no route that will be added: each one has to be opened to it."""
    by = await token(api, family["child"], family=True)
    names = {"run_id": family["child"], "project": api.project.slug, "ref": api.project.slug}
    opened = set()
    for route in await routes_of(api):
        if route.open or NEEDS[route.name] == "none":
            continue
        path = route.path
        for name, value in names.items():
            path = path.replace(f"{{{name}}}", value)
        body = None if route.name.startswith("GET") else {}
        if "{" not in path.replace("{event_id}", "1") and not path.endswith("/stream"):
            response = await api.send(route.name.split()[0], path.replace("{event_id}", "1"), body, by=by)
            if response.status_code not in (400, 401, 403, 404):
                opened.add(route.path.removeprefix("/runs/{run_id}"))
    assert opened == READ - {"/stream"}


async def test_it_reads_no_project(api, family):
    by = await token(api, family["child"], family=True)
    for path in ("/projects", f"/projects/{api.project.slug}"):
        refused = await api.refused(403, "FORBIDDEN", "GET", path, by=by)
        assert "bound to the run" in refused["detail"]


async def test_it_ends_with_its_time_and_with_the_key_that_made_it(api, family):
    key = await api.post(
        f"/projects/{api.project.slug}/api-keys", {"name": "k", "scopes": ["runs:read"]}, 201, by="admin"
    )
    by = await token(api, family["child"], by=key["key"])
    other = await token(api, family["child"], expires_in_seconds=86_400)
    assert (await api.send("GET", f"/runs/{family['child']}", by=by)).status_code == 200
    await api.send("DELETE", f"/projects/{api.project.slug}/api-keys/{key['id']}", by="admin")
    api.clock.advance(3)
    await api.refused(401, "UNAUTHENTICATED", "GET", f"/runs/{family['child']}", by=by)
    api.clock.advance(86_400)
    await api.refused(401, "UNAUTHENTICATED", "GET", f"/runs/{family['child']}", by=other)


async def test_only_a_reader_of_the_run_gets_one(api, family):
    by = await token(api, family["child"])
    await api.refused(
        403, "FORBIDDEN", "POST", f"/runs/{family['child']}/access-tokens", {"expires_in_seconds": 60}, by=by
    )
    await api.refused(404, "NOT_FOUND", "POST", "/runs/nope/access-tokens", {"expires_in_seconds": 60})
    path = f"/runs/{family['child']}/access-tokens"
    for seconds in (0, 86_401):
        await api.refused(400, "INVALID_REQUEST", "POST", path, {"expires_in_seconds": seconds})


# Of a conversation


@pytest.fixture
async def talk(api):
    """A conversation with two runs and a message; a child of a run in another conversation; and a run without one."""
    names = {"place": await api.conversation(project_id=api.project.id)}
    for name in ("first", "second"):
        names[name] = (await api.create(api.agent(names["place"])))["run_id"]
    message = {"role": "user", "parts": [{"type": "text", "text": "hello"}]}
    await api.post(f"/conversations/{names['place']}/messages", message, 201)
    names["elsewhere"] = await api.conversation(project_id=api.project.id)
    other = api.agent(names["elsewhere"], parent_run_id=names["first"])
    names["other"] = (await api.create(other))["run_id"]
    names["task"] = (await api.create(api.task("task:alone")))["run_id"]
    for name in ("first", "second", "other", "task"):
        event = {"type": "CUSTOM", "name": name, "value": 1}
        await api.post(f"/runs/{names[name]}/events", {"events": [event]})
    return names


async def conversation_token(api, place, **options):
    made = await api.send(
        "POST", f"/conversations/{place}/access-tokens", {"expires_in_seconds": 60}, **options
    )
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    assert made.json()["expires_at"] == "2026-03-20T12:01:00.000Z"
    return made.json()["token"]


async def test_of_a_conversation_it_reads_the_messages_and_the_runs(api, talk):
    by = await conversation_token(api, talk["place"], by="read")
    place = f"/conversations/{talk['place']}"
    assert (await api.get(place, by=by))["id"] == talk["place"]
    messages = (await api.get(f"{place}/messages", by=by))["data"]
    assert [one["role"] for one in messages] == ["assistant", "assistant", "user"]
    for name in ("first", "second"):
        run = f"/runs/{talk[name]}"
        assert (await api.get(run, by=by))["run_id"] == talk[name]
        assert (await api.get(f"{place}{run}", by=by))["run_id"] == talk[name]
        for path in (run, place + run):
            [event] = (await api.get(f"{path}/events", by=by))["data"]
            assert f"'{name}'" in str(event)
    await api.complete(talk["first"])
    for path in (f"/runs/{talk['first']}", f"{place}/runs/{talk['first']}"):
        frames = await api.send("GET", f"{path}/stream", by=by)
        assert (frames.status_code, "event: RunFinished" in frames.text) == (200, True)


async def test_of_a_conversation_it_reads_no_run_and_no_conversation_beside(api, talk):
    by = await conversation_token(api, talk["place"])
    for path in (
        f"/conversations/{talk['elsewhere']}",
        f"/conversations/{talk['elsewhere']}/messages",
        f"/conversations/{talk['elsewhere']}/runs/{talk['other']}",
        f"/conversations/{talk['elsewhere']}/runs/{talk['first']}",
        f"/conversations/{talk['place']}/runs/{talk['other']}",
        f"/runs/{talk['other']}",
        f"/runs/{talk['other']}/events",
        f"/runs/{talk['task']}",
        f"/runs/{talk['task']}/stream",
    ):
        await api.refused(404, "NOT_FOUND", "GET", path, by=by)
    for path in ("events?include_descendants=true", "stream?include_descendants=true", "children", "tree"):
        await api.refused(403, "FORBIDDEN", "GET", f"/runs/{talk['first']}/{path}", by=by)


READ_IN_CONVERSATION = {
    "/conversations/{conversation_id}",
    "/conversations/{conversation_id}/messages",
    "/conversations/{conversation_id}/runs/{run_id}",
    "/conversations/{conversation_id}/runs/{run_id}/events",
    "/conversations/{conversation_id}/runs/{run_id}/stream",
    "/runs/{run_id}",
    "/runs/{run_id}/events",
    "/runs/{run_id}/events/summary",
    "/runs/{run_id}/events/{event_id}",
    "/runs/{run_id}/stream",
}


async def test_no_other_route_accepts_one_of_a_conversation(api, talk):
    """Also no route that will be added: each one has to be opened to it."""
    await api.complete(talk["first"])  # so that its stream ends
    by = await conversation_token(api, talk["place"])
    names = {"conversation_id": talk["place"], "run_id": talk["first"], "event_id": "1", "name": "x"}
    names |= {"project": api.project.slug, "child_run_id": talk["other"]}
    opened = set()
    for route in await routes_of(api):
        if route.open or NEEDS[route.name] == "none":
            continue
        path = route.path
        for name, value in names.items():
            path = path.replace(f"{{{name}}}", value)
        method = route.name.split()[0]
        path = re.sub(r"\{[^}]+\}", "x", path)  # an object of another kind
        response = await api.send(method, path, *([] if method == "GET" else [{}]), by=by)
        if response.status_code not in (400, 401, 403, 404):
            assert method == "GET", route.name
            opened.add(route.path)
    assert opened == READ_IN_CONVERSATION


async def test_of_a_conversation_only_a_reader_of_the_project_gets_one(api, talk):
    path, body = f"/conversations/{talk['place']}/access-tokens", {"expires_in_seconds": 60}
    by = await conversation_token(api, talk["place"])
    await api.refused(403, "FORBIDDEN", "POST", path, body, by=by)
    await api.refused(403, "FORBIDDEN", "POST", path, body, by=await token(api, talk["first"]))
    await api.refused(403, "FORBIDDEN", "POST", path, body, by="workers")
    await api.refused(404, "NOT_FOUND", "POST", path, body, by="other")
    await api.refused(400, "INVALID_REQUEST", "POST", path, {"expires_in_seconds": 86_401})
    await api.send("DELETE", f"/conversations/{talk['place']}")
    await api.refused(404, "NOT_FOUND", "POST", path, body)
    await api.refused(404, "NOT_FOUND", "GET", f"/conversations/{talk['place']}/messages", by=by)
