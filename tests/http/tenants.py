"""Two projects with an object of every kind, valid requests of every route, and the scopes that they need."""

import sqlite3
from contextlib import closing
from typing import NamedTuple

import asyncpg
import msgspec

from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.engines.sqlite.store import SqliteStore
from runstead.http.framework.app import operations

from .pushed import PAIR

#: Scope of a route → the single scopes of a key that suffice. `none`: every credential.
SUFFICES = {
    "none": {"runs:read", "runs:write", "workers", "audit:read", "admin", "system"},
    "runs:read": {"runs:read", "runs:write", "admin"},
    "runs:write": {"runs:write", "admin"},
    "workers": {"workers", "admin"},
    "workers or runs:write": {"workers", "runs:write", "admin"},
    "audit:read": {"audit:read", "admin"},
    "admin": {"admin"},
    "runs:read or system": {"runs:read", "runs:write", "admin", "system"},
    "system": {"system"},
}
#: Route → the scope that it needs. `open`: no credential.
#: Add a new route here: the decision who may call it is made in this table, and not by its handler.
NEEDS = {
    "GET /healthz": "open",
    "GET /readyz": "open",
    "GET /metrics": "open",
    "GET /openapi.json": "open",
    "GET /.well-known/jwks.json": "open",
    "POST /triggers/{token}": "open",
    "GET /runs/event-types": "none",
    "GET /projects": "none",
    "GET /projects/{project}": "none",
    "POST /projects": "system",
    "PATCH /projects/{project}": "admin",
    "POST /projects/{project}/api-keys": "admin",
    "GET /projects/{project}/api-keys": "admin",
    "PATCH /projects/{project}/api-keys/{key_id}": "admin",
    "DELETE /projects/{project}/api-keys/{key_id}": "admin",
    "POST /projects/{project}/members": "admin",
    "GET /projects/{project}/members": "runs:read",
    "DELETE /projects/{project}/members/{user_id}": "admin",
    "GET /projects/{project}/audit": "audit:read",
    "GET /projects/{project}/quota": "runs:read or system",
    "PUT /projects/{project}/quota": "system",
    "GET /runs": "runs:read",
    "GET /projects/{project}/runs": "runs:read",
    "GET /runs/{run_id}": "runs:read",
    "GET /runs/{run_id}/usage": "runs:read",
    "GET /runs/{run_id}/values": "runs:read",
    "GET /runs/{run_id}/children": "runs:read",
    "GET /runs/{run_id}/tree": "runs:read",
    "GET /runs/{run_id}/attempts": "runs:read",
    "GET /runs/{run_id}/events": "runs:read",
    "GET /runs/{run_id}/events/summary": "runs:read",
    "GET /runs/{run_id}/events/{event_id}": "runs:read",
    "GET /runs/{run_id}/stream": "runs:read",
    "GET /runs/{run_id}/artifacts/{name}": "runs:read",
    "PUT /runs/{run_id}/artifacts/{name}": "runs:write",
    "POST /runs": "runs:write",
    "POST /runs/{run_id}/events": "runs:write",
    "POST /runs/{run_id}/complete": "runs:write",
    "POST /runs/{run_id}/cancel": "runs:write",
    "POST /runs/{run_id}/retry": "runs:write",
    "POST /runs/{run_id}/resume": "runs:write",
    "POST /runs/{run_id}/signals": "runs:write",
    "GET /runs/{run_id}/signals": "runs:read",
    "POST /runs/{run_id}/compensations": "runs:write",
    "GET /runs/{run_id}/compensations": "runs:read",
    "POST /runs/{run_id}/access-tokens": "runs:read",
    "POST /runs/{run_id}/input-requests/{input_request_id}/secrets": "runs:write",
    "GET /projects/{project}/targets": "runs:read",
    "POST /conversations/{conversation_id}/access-tokens": "runs:read",
    "POST /runs/{run_id}/wait": "runs:write",
    "POST /runs/{run_id}/heartbeats": "runs:write",
    "POST /runs/{run_id}/pause": "runs:write",
    "POST /runs/{run_id}/children/{child_run_id}/event-writer-token": "runs:write",
    "PATCH /runs/{run_id}": "runs:write",
    "DELETE /runs/{run_id}": "admin",
    "POST /conversations": "runs:write",
    "GET /conversations": "runs:read",
    "GET /conversations/{conversation_id}": "runs:read",
    "PATCH /conversations/{conversation_id}": "runs:write",
    "DELETE /conversations/{conversation_id}": "runs:write",
    "POST /conversations/{conversation_id}/messages": "runs:write",
    "GET /conversations/{conversation_id}/messages": "runs:read",
    "POST /conversations/{conversation_id}/input-requests": "runs:write",
    "GET /conversations/{conversation_id}/input-requests": "runs:read",
    "GET /conversations/{conversation_id}/input-requests/{input_request_id}": "runs:read",
    "POST /conversations/{conversation_id}/input-requests/{input_request_id}/responses": "runs:write",
    "POST /conversations/{conversation_id}/input-requests/{input_request_id}/cancel": "runs:write",
    "GET /conversations/{conversation_id}/runs/{run_id}": "runs:read",
    "GET /conversations/{conversation_id}/runs/{run_id}/children": "runs:read",
    "GET /conversations/{conversation_id}/runs/{run_id}/snapshot": "runs:read",
    "GET /conversations/{conversation_id}/runs/{run_id}/stream": "runs:read",
    "GET /conversations/{conversation_id}/runs/{run_id}/events": "runs:read",
    "POST /conversations/{conversation_id}/runs/{run_id}/events": "runs:write",
    "POST /agent-workers/projects/{project}/workers": "workers",
    "GET /agent-workers/projects/{project}/workers": "runs:read",
    "GET /agent-workers/projects/{project}/versions": "runs:read",
    "DELETE /agent-workers/workers/{worker_id}": "workers",
    "POST /agent-workers/workers/{worker_id}/heartbeat": "workers or runs:write",
    "GET /agent-workers/workers/{worker_id}/channel": "workers or runs:write",
    "POST /agent-workers/workers/{worker_id}/claim": "workers or runs:write",
    "POST /agent-workers/workers/{worker_id}/runs/{run_id}/lease": "workers or runs:write",
    "POST /agent-workers/workers/{worker_id}/runs/{run_id}/release": "workers or runs:write",
    "PUT /agent-workers/workers/{worker_id}/runs/{run_id}/session": "workers or runs:write",
    "POST /projects/{project}/schedules": "runs:write",
    "GET /projects/{project}/schedules": "runs:read",
    "GET /projects/{project}/schedules/{schedule_id}": "runs:read",
    "GET /projects/{project}/schedules/{schedule_id}/upcoming": "runs:read",
    "PATCH /projects/{project}/schedules/{schedule_id}": "runs:write",
    "DELETE /projects/{project}/schedules/{schedule_id}": "runs:write",
    "POST /projects/{project}/schedules/{schedule_id}/runs": "runs:write",
    "PUT /projects/{project}/source-schedules": "runs:write",
    "POST /projects/{project}/events": "runs:write",
    "POST /projects/{project}/webhooks": "admin",
    "GET /projects/{project}/webhooks": "admin",
    "GET /projects/{project}/webhooks/{webhook_id}": "admin",
    "PATCH /projects/{project}/webhooks/{webhook_id}": "admin",
    "DELETE /projects/{project}/webhooks/{webhook_id}": "admin",
    "POST /projects/{project}/webhooks/{webhook_id}/rotate": "admin",
    "POST /projects/{project}/webhooks/{webhook_id}/test": "admin",
    "GET /projects/{project}/webhooks/{webhook_id}/deliveries": "admin",
    "POST /projects/{project}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": "admin",
    "POST /projects/{project}/alerts": "admin",
    "GET /projects/{project}/alerts": "admin",
    "GET /projects/{project}/alerts/{alert_id}": "admin",
    "PATCH /projects/{project}/alerts/{alert_id}": "admin",
    "DELETE /projects/{project}/alerts/{alert_id}": "admin",
    "POST /projects/{project}/alerts/{alert_id}/mute": "admin",
    "DELETE /projects/{project}/alerts/{alert_id}/mute": "admin",
    "POST /projects/{project}/alerts/{alert_id}/test": "admin",
    "GET /projects/{project}/alerts/{alert_id}/history": "admin",
    "POST /projects/{project}/budgets": "admin",
    "GET /projects/{project}/budgets": "runs:read",
    "GET /projects/{project}/budgets/{budget_id}": "runs:read",
    "PATCH /projects/{project}/budgets/{budget_id}": "admin",
    "DELETE /projects/{project}/budgets/{budget_id}": "admin",
    "GET /runs/{run_id}/budgets": "runs:read",
    "POST /projects/{project}/triggers": "admin",
    "GET /projects/{project}/triggers": "admin",
    "GET /projects/{project}/triggers/{trigger_id}": "admin",
    "PATCH /projects/{project}/triggers/{trigger_id}": "admin",
    "DELETE /projects/{project}/triggers/{trigger_id}": "admin",
    "POST /projects/{project}/triggers/{trigger_id}/rotate": "admin",
    "GET /projects/{project}/concurrency-limits": "runs:read",
    "PUT /projects/{project}/concurrency-limits": "admin",
    "PUT /projects/{project}/limits/{target}": "admin",
    "GET /projects/{project}/prices": "runs:read",
    "PUT /projects/{project}/prices": "admin",
    "DELETE /projects/{project}/prices": "admin",
    "GET /projects/{project}/usage": "runs:read",
    "POST /projects/{project}/batches": "runs:write",
    "GET /projects/{project}/batches": "runs:read",
    "GET /projects/{project}/batches/{batch_id}": "runs:read",
    "GET /projects/{project}/batches/{batch_id}/stream": "runs:read",
    "POST /projects/{project}/batches/{batch_id}/cancel": "runs:write",
    "POST /projects/{project}/batches/{batch_id}/retry": "runs:write",
    "POST /projects/{project}/bulk": "runs:write",
    "GET /projects/{project}/bulk/{job_id}": "runs:read",
    "POST /projects/{project}/bulk/{job_id}/cancel": "runs:write",
    "GET /projects/{project}/notifications": "runs:read",
    "POST /agent-runtimes/push-services": "runs:write",
    "GET /agent-runtimes/push-services": "runs:read",
    "GET /agent-runtimes/push-services/{service_id}": "runs:read",
    "DELETE /agent-runtimes/push-services/{service_id}": "runs:write",
    "POST /agent-runtimes/push-services/{service_id}/heartbeat": "runs:write",
}
#: Routes of a project that belong to the instance: a caller with the scope system has them in every project.
OF_THE_INSTANCE = {"GET /projects/{project}/quota", "PUT /projects/{project}/quota"}
QUERIES = {
    "DELETE /projects/{project}/prices": "?provider=acme&model=m",
    "GET /projects/{project}/usage": "?since=2026-01-01T00:00:00Z&until=2027-01-01T00:00:00Z",
}


class Route(NamedTuple):
    """A route of the OpenAPI document."""

    name: str  # method and path
    method: str
    path: str
    open: bool
    query: frozenset[str]

    @property
    def streams(self):
        return self.path.endswith(("/stream", "/notifications", "/channel"))

    def line(self, names):
        return self.path.format(**names) + QUERIES.get(self.name, "")


async def routes_of(api):
    """Return every route: reads first, deletions last, so that each request still finds its objects."""
    document = await api.get("/openapi.json", by=None)
    routes = [
        Route(
            f"{method.upper()} {path}",
            method.upper(),
            path,
            operation["security"] == [],
            frozenset(each["name"] for each in operation["parameters"] if each["in"] == "query"),
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in {"get", "put", "post", "patch", "delete"}
    ]
    assert len(routes) == len(operations())
    order = {"GET": 0, "DELETE": 2}
    return sorted(routes, key=lambda route: (order.get(route.method, 1), -route.path.count("/")))


def bodies(names):
    """Return a valid body of every route that has one. They name as many objects as a body can."""
    project, conversation, run = names["project"], names["conversation_id"], names["run_id"]
    task = {"kind": "task", "id": "count"}
    in_conversation = {
        "kind": "agent",
        "id": "scribe",
        "conversation_mode": "existing",
        "conversation_id": conversation,
    }
    return {
        "POST /runs": {
            "kind": "task",
            "owner": {"kind": "project", "id": project},
            "parent_run_id": names["open_run_id"],
            "request": {"target": "task:count"},
        },
        "POST /runs/{run_id}/events": {"events": [{"type": "A"}]},
        "POST /conversations/{conversation_id}/runs/{run_id}/events": {"events": [{"type": "A"}]},
        "POST /runs/{run_id}/complete": {"status": "completed"},
        "POST /runs/{run_id}/wait": {"reason": "event", "awaited_run_id": names["child_run_id"]},
        "POST /runs/{run_id}/resume": {"type": "event"},
        "POST /runs/{run_id}/signals": {"name": "paid"},
        "POST /projects/{project}/events": {"name": "paid"},
        "POST /runs/{run_id}/compensations": {"target": "task:undo"},
        "POST /runs/{run_id}/access-tokens": {"expires_in_seconds": 60},
        "POST /conversations/{conversation_id}/access-tokens": {"expires_in_seconds": 60},
        "POST /runs/{run_id}/heartbeats": {"attempt": 1},
        "PATCH /runs/{run_id}": {"title": "T"},
        "POST /conversations": {"project_id": project},
        "PATCH /conversations/{conversation_id}": {"project_id": project},
        "POST /conversations/{conversation_id}/messages": {
            "role": "user",
            "parts": [{"type": "text", "text": "x"}],
        },
        "POST /conversations/{conversation_id}/input-requests": {
            "run_id": run,
            "tool_call_id": "t",
            "kind": "form",
            "requested_responder_type": "human",
            "title": "T",
            "fields": [{"name": "n", "label": "N", "type": "text"}],
        },
        "POST /conversations/{conversation_id}/input-requests/{input_request_id}/responses": {
            "values": {"n": "x"}
        },
        "POST /agent-workers/projects/{project}/workers": {"implementation_kind": "a", "worker_key": "b"},
        "PUT /agent-workers/workers/{worker_id}/runs/{run_id}/session": {"session_key": "s"},
        "POST /projects": {"slug": "third"},
        "PATCH /projects/{project}": {"require_attempt": False},
        "POST /projects/{project}/members": {"user_id": "eve"},
        "PATCH /projects/{project}/api-keys/{key_id}": {"runs_per_minute": 5},
        "POST /projects/{project}/schedules": {
            "name": "hourly",
            "target": in_conversation,
            "schedule": "0 * * * *",
        },
        "PATCH /projects/{project}/schedules/{schedule_id}": {"target": in_conversation},
        "POST /projects/{project}/schedules/{schedule_id}/runs": {"idempotency_key": "k"},
        "PUT /projects/{project}/source-schedules": {
            "schedules": [
                {
                    "source_trigger_id": "s",
                    "source_path": "s.ts",
                    "name": "s",
                    "target": task,
                    "schedule": "0 3 * * *",
                }
            ]
        },
        "POST /projects/{project}/batches": {
            "runs": [
                {
                    "kind": "task",
                    "parent_run_id": names["open_run_id"],
                    "request": {"target": "task:count"},
                }
            ]
        },
        "POST /projects/{project}/bulk": {"action": "cancel", "filter": {"target": ["task:of-no-run"]}},
        "PUT /projects/{project}/quota": {"runs_pending": 1_000},
        "PUT /projects/{project}/concurrency-limits": {"limits": []},
        "PUT /projects/{project}/limits/{target}": {},
        "PUT /projects/{project}/prices": {"provider": "acme", "model": "m", "input": 1, "output": 2},
        "POST /projects/{project}/webhooks": {"url": "https://a.example/in", "events": ["*"]},
        "POST /projects/{project}/alerts": {
            "kind": "schedule_missed",
            "schedule_id": names.get("schedule_id"),
            "webhook_id": names.get("webhook_id"),
        },
        "PATCH /projects/{project}/alerts/{alert_id}": {"webhook_id": names.get("webhook_id")},
        "POST /projects/{project}/budgets": {
            "scope": {"kind": "project"},
            "period": "month",
            "limit": {"tokens": 10**12},
            "on_reached": "alert",
        },
        "PATCH /projects/{project}/budgets/{budget_id}": {"alert_at_percent": 70},
        "POST /projects/{project}/triggers": {
            "name": "mail",
            "target": "agent:scribe",
            "conversation_id": conversation,
        },
        "POST /agent-runtimes/push-services": {
            "service_name": "s",
            "service_key": "another",
            "scope_kind": "project",
            "project_id": project,
            "base_url": "https://a.example",
            "invoke_url": "https://a.example/runs",
        },
    }


class Tenant:
    """A project with an object of every kind.

    `names` are their names for paths and bodies; `secrets` are texts that only this project may receive.
    """

    def __init__(self, api, project, by):
        self.api, self.project, self.by = api, project, by
        self.text = f"private text of {project.slug}"
        self.names = {"project": project.id, "event_id": "1", "name": "report.csv", "token": "unknown"}
        self.names["user_id"] = f"ada-{project.slug}"

    async def furnish(self):
        api, names, text = self.api, self.names, self.text
        here = f"/projects/{self.project.id}"
        made = await self._post("/conversations", {"project_id": self.project.id, "title": text})
        names["conversation_id"] = made["id"]
        run = api.agent(names["conversation_id"], request={"implementation_kind": "claude"}, title=text)
        names["run_id"] = await self._run(run)
        in_project = api.task() | {"owner": {"kind": "project", "id": self.project.id}, "title": text}
        names["child_run_id"] = await self._run(in_project | {"parent_run_id": names["run_id"]})
        names["open_run_id"] = await self._run(in_project)
        worker = {"implementation_kind": "claude", "worker_key": "w", "display_name": text}
        made = await self._post(f"/agent-workers{here}/workers", worker)
        names["worker_id"], self.worker_token = made["worker"]["id"], made["token"]
        held = await self._post(f"/agent-workers/workers/{names['worker_id']}/claim", {})
        assert held["run"]["run_id"] == names["run_id"]
        run = f"/runs/{names['run_id']}"
        await self._post(f"{run}/events", {"events": [{"type": "CUSTOM", "name": "note", "value": text}]})
        value = {"type": "CUSTOM", "name": "run.value", "value": {"name": "note", "value": text}}
        lease = {"X-Lease-Token": held["run"]["lease_token"]}
        set_value = await api.send("POST", f"{run}/events", {"events": [value]}, by=self.by, headers=lease)
        assert set_value.status_code == 200, set_value.text
        if api.app.artifacts is not None:
            stored = await api.send("PUT", f"{run}/artifacts/report.csv", text.encode(), by=self.by)
            assert stored.status_code == 200, stored.text
        sent = bodies(names)
        asked = "POST /conversations/{conversation_id}/input-requests"
        conversation = f"/conversations/{names['conversation_id']}"
        message = {"role": "user", "parts": [{"type": "text", "text": text}]}
        await self._post(f"{conversation}/messages", message)
        made = await self._post(f"{conversation}/input-requests", sent[asked] | {"title": text})
        names["input_request_id"] = made["id"]
        for noun, member, name in (("schedules", "schedule", "name"), ("batches", "batch", "name")):
            made = await self._post(
                f"{here}/{noun}", sent[f"POST /projects/{{project}}/{noun}"] | {name: text}
            )
            names[f"{member}_id"] = made[member]["id"]
        made = await self._post(
            f"{here}/bulk",
            sent["POST /projects/{project}/bulk"] | {"filter": {"q": text, "target": ["task:x"]}},
        )
        names["job_id"] = made["job"]["id"]
        hook = sent["POST /projects/{project}/webhooks"]
        made = await self._post(f"{here}/webhooks", hook)
        names["webhook_id"] = made["webhook"]["id"]
        made = await self._post(f"{here}/webhooks/{names['webhook_id']}/test")
        names["delivery_id"] = made["delivery"]["id"]
        alert = {"kind": "worker_silent", "name": text, "webhook_id": names["webhook_id"]}
        names["alert_id"] = (await self._post(f"{here}/alerts", alert))["alert"]["id"]
        budget = sent["POST /projects/{project}/budgets"] | {"name": text}
        names["budget_id"] = (await self._post(f"{here}/budgets", budget))["budget"]["id"]
        made = await self._post(
            f"{here}/triggers", sent["POST /projects/{project}/triggers"] | {"name": text}
        )
        names["target"] = "task:a"
        names["trigger_id"], self.trigger_token = made["trigger"]["id"], made["token"]
        made = await self._post(
            "/agent-runtimes/push-services",
            sent["POST /agent-runtimes/push-services"] | {"service_name": text},
        )
        names["service_id"] = made["service"]["id"]
        made = await self._post(f"{here}/api-keys", {"name": text, "scopes": ["runs:read"]})
        names["key_id"] = made["id"]
        await self._post(f"{here}/members", {"user_id": names["user_id"], "role": "admin"})
        await self._put(f"{here}/prices", sent["PUT /projects/{project}/prices"])
        return self

    @property
    def secrets(self):
        """Ids and texts that no other tenant may read."""
        shared = {"event_id", "name", "token"}
        return {value for name, value in self.names.items() if name not in shared} | {self.text}

    async def _post(self, path, body=...):
        return await self._write("POST", path, body)

    async def _put(self, path, body):
        return await self._write("PUT", path, body)

    async def _write(self, method, path, body):
        response = await self.api.send(method, path, body, by=self.by)
        assert response.status_code < 300, f"{method} {path}: {response.text}"
        return response.json()

    async def _run(self, body):
        return (await self._post("/runs", body))["run"]["run_id"]

    def body(self, route, **changes):
        """Return the valid body of a route for this tenant, with some of its names changed."""
        if route.method == "GET":
            return ...
        if route.path.endswith("/artifacts/{name}"):
            return b"bytes"
        return bodies({**self.names, **changes}).get(route.name, {})


async def two_tenants(api, folder):
    """Furnish `api.project` and `api.other`, and return them as tenants."""
    api.app.artifacts = FilesystemArtifacts(folder / "artifacts")
    await api.app.artifacts.open()
    await api.store.signing_keys.add(PAIR, only_first=True)
    tenant = await Tenant(api, api.project, "admin").furnish()
    return tenant, await Tenant(api, api.other, "other").furnish()


async def rows_of(store):
    """Return all rows of all tables of a store, as texts."""
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(f"{store._path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            return {
                name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}"))) for (name,) in tables
            }
    connection = await asyncpg.connect(store._databases.server.url(store.database))
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return {
            name: sorted(map(repr, await connection.fetch(f"SELECT * FROM {name}"))) for (name,) in tables
        }
    finally:
        await connection.close()


def text_of(response):
    """Return the body without the path that the caller sent, which a problem repeats, and without the request's id."""
    if response.headers.get("content-type") == "application/problem+json":
        return msgspec.json.encode({**response.json(), "instance": "", "request_id": ""}).decode()
    return response.text
