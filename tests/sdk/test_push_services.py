"""Calls of push services, to the application in this process."""

import httpx2
import pytest

from runstead.commands.app import App
from runstead.commands.keys import make_key, new_project
from runstead.core.identity.principal import ALL_SCOPES
from runstead.core.identity.project import new_key
from runstead.engines.notifiers.local import LocalNotifier
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.app import HttpApp
from runstead.sdk import AsyncClient
from runstead.security.egress import Egress
from runstead.testing.store import TemporaryStore

URLS = {"base_url": "https://a.example", "invoke_url": "https://a.example/runs"}


@pytest.fixture
async def client():
    store = TemporaryStore()
    await store.open()
    project, secret = new_project("default", None), new_key()
    await store.identity.create_project(project, None, make_key(secret, project.id, ALL_SCOPES))
    app = App(store, LocalNotifier(), egress=Egress())
    transport = httpx2.ASGITransport(HttpApp(app, Authenticator(store, None)))
    async with AsyncClient("http://runstead.test", secret, project="default", transport=transport) as client:
        yield client
    await store.close()


async def test_a_service_registers_sends_heartbeats_and_is_disabled(client):
    made = (await client.push_services.register("s", "s-1", agent_id="scribe", region="eu", **URLS)).service
    assert (made.status, made.scope_kind, made.agent_id, made.region) == ("active", "project", "scribe", "eu")
    assert (await client.push_services.heartbeat(made.id)).service.id == made.id
    assert (await client.push_services.get(made.id)).service == (await client.push_services.list()).data[0]
    assert (await client.push_services.disable(made.id)).service.status == "disabled"


async def test_a_service_for_all_projects_names_none(client):
    made = (await client.push_services.register("s", "s-1", everywhere=True, **URLS)).service
    assert (made.scope_kind, made.project_id) == ("global", None)


async def test_a_childs_token_is_in_no_repr(client):
    parent = (await client.runs.create("task:a")).run
    child = (await client.runs.create("task:b", parent_run_id=parent.run_id)).run
    made = await client.runs.child_event_token(parent.run_id, child.run_id)
    assert made.run_event_token.count(".") == 2
    assert made.run_event_token not in repr(made)
