"""Performs each action that the audit log records, over HTTP."""

import re

import httpx2

from runstead.web.framework.app import WebApp

PATH = "/projects/inventory/audit"
SERVICE = {
    "service_name": "scribe",
    "service_key": "one",
    "scope_kind": "project",
    "base_url": "https://scribe.test/base?token=hidden",
    "invoke_url": "https://scribe.test/invoke/hidden",
}
SCHEDULE = {"name": "nightly", "target": {"kind": "task", "id": "count"}, "schedule": "0 3 * * *"}
PRICE = {"provider": "acme", "model": "m-1", "input": 1, "output": 2}
ALERT = {"kind": "pending_age", "target": "task:count", "threshold": 60}
BUDGET = {"scope": {"kind": "project"}, "period": "day", "limit": {"tokens": 5}, "on_reached": "alert"}
WEBHOOK = {"url": "https://hooks.test/services/hidden", "events": ["run.failed"]}


class Audited:
    """Performs actions over HTTP, and reads the log. Each method returns the kind and the id of the object."""

    def __init__(self, api):
        self.api = api
        web = WebApp(api.app, api.authenticator)
        self.web = httpx2.AsyncClient(transport=httpx2.ASGITransport(web), base_url="http://runstead.test")
        self.response = None

    async def entries(self, path=PATH, by="admin", **query):
        answer = await self.api.send("GET", path, by=by, params={"limit": 100, **query})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def send(self, method, path, body=..., **options):
        """The audited request, by the admin key."""
        headers = {"X-Request-Id": "request-of-the-test", **options.pop("headers", {})}
        options = {"by": "admin"} | options
        self.response = await self.api.send(method, path, body, headers=headers, **options)
        assert self.response.status_code < 300, self.response.text
        return self.response.json() if self.response.content else None

    async def waiting(self, **wait):
        run = await self.api.create()
        body = {"reason": "approval", "tool_call_id": "deploy", **wait}
        await self.api.post(f"/runs/{run['run_id']}/wait", body)
        return run["run_id"]

    async def ended(self):
        run = await self.api.create()
        await self.api.complete(run["run_id"], "failed")
        return run["run_id"]

    async def key_id(self, name="admin"):
        listed = await self.api.get("/projects/inventory/api-keys", by="admin")
        return next(key["id"] for key in listed["data"] if key["name"] == name)

    # Each action is prepared by a step that other callers perform, and then performed by the admin key.

    async def run_create(self):
        """Only a run that a person starts in the dashboard."""
        await self.sign_in()
        path, headers = "/ui/projects/inventory/list/new", {"X-Request-Id": "request-of-the-test"}
        fields = dict(
            re.findall(r'name="(csrf|form_token)" value="([^"]*)"', (await self.web.get(path)).text)
        )
        answer = await self.web.post(path, data=fields | {"target": "task:count"}, headers=headers)
        assert answer.status_code == 303, answer.text
        yield answer
        yield "run", answer.headers["location"].rpartition("/")[2]

    async def run_resume(self):
        run_id = await self.waiting()
        body = {"type": "approval", "tool_call_id": "deploy", "result": True}
        yield await self.send("POST", f"/runs/{run_id}/resume", body)
        yield "run", run_id

    async def run_cancel(self):
        run_id = (await self.api.create())["run_id"]
        await self.api.create(self.api.task(parent_run_id=run_id))
        yield await self.send("POST", f"/runs/{run_id}/cancel", {"reason": "too late"})
        yield "run", run_id

    async def run_pause(self):
        run_id = (await self.api.create())["run_id"]
        yield await self.send("POST", f"/runs/{run_id}/pause")
        yield "run", run_id

    async def run_retry(self):
        run_id = await self.ended()
        yield await self.send("POST", f"/runs/{run_id}/retry")
        yield "run", run_id

    async def run_delete(self):
        run_id = await self.ended()
        yield await self.send("DELETE", f"/runs/{run_id}")
        yield "run", run_id

    async def run_read_secrets(self):
        conversation = await self.api.conversation()
        await self.api.create(self.api.agent(conversation, request={"implementation_kind": "claude"}))
        worker, _ = await self.api.worker()
        run = (await self.api.claim(worker, kinds=["agent"]))["run"]
        body = {"run_id": run["run_id"], "tool_call_id": "t", "kind": "form", "title": "T"}
        body |= {"fields": [{"name": "n", "label": "N", "type": "text"}], "requested_responder_type": "human"}
        requests = f"/conversations/{conversation}/input-requests"
        asked = (await self.api.post(requests, body, 201))["id"]
        await self.api.post(f"{requests}/{asked}/responses", {"values": {"n": "x"}}, 201)
        path = f"/runs/{run['run_id']}/input-requests/{asked}/secrets"
        yield await self.send("POST", path, headers={"X-Lease-Token": run["lease_token"]})
        yield "run", run["run_id"]

    async def batch(self):
        runs = [{"kind": "task", "request": {"target": "task:count"}} for _ in range(2)]
        made = await self.api.post("/projects/inventory/batches", {"runs": runs}, 202)
        return made["batch"]["id"], made["run_ids"]

    async def batch_cancel(self):
        batch_id, _ = await self.batch()
        yield await self.send("POST", f"/projects/inventory/batches/{batch_id}/cancel")
        yield "batch", batch_id

    async def batch_retry(self):
        batch_id, run_ids = await self.batch()
        for run_id in run_ids:
            await self.api.complete(run_id, "failed")
        yield await self.send("POST", f"/projects/inventory/batches/{batch_id}/retry")
        yield "batch", batch_id

    async def bulk_create(self):
        await self.api.create()
        body = {"action": "cancel", "filter": {"status": ["pending"]}}
        yield (made := await self.send("POST", "/projects/inventory/bulk", body))
        yield "bulk", made["job"]["id"]

    async def bulk_cancel(self):
        await self.api.create()
        body = {"action": "cancel", "filter": {"status": ["pending"]}}
        job = (await self.api.post("/projects/inventory/bulk", body, 202))["job"]
        yield await self.send("POST", f"/projects/inventory/bulk/{job['id']}/cancel")
        yield "bulk", job["id"]

    async def schedule(self):
        return (await self.api.post("/projects/inventory/schedules", SCHEDULE, 201))["schedule"]["id"]

    async def schedule_create(self):
        yield (made := await self.send("POST", "/projects/inventory/schedules", SCHEDULE))
        yield "schedule", made["schedule"]["id"]

    async def schedule_change(self):
        schedule_id = await self.schedule()
        yield await self.send("PATCH", f"/projects/inventory/schedules/{schedule_id}", {"name": "hourly"})
        yield "schedule", schedule_id

    async def schedule_delete(self):
        schedule_id = await self.schedule()
        yield await self.send("DELETE", f"/projects/inventory/schedules/{schedule_id}")
        yield "schedule", schedule_id

    async def schedule_sync(self):
        body = {"schedules": [{**SCHEDULE, "source_trigger_id": "nightly", "source_path": "a.py"}]}
        yield await self.send("PUT", "/projects/inventory/source-schedules", body)
        listed = await self.api.get("/projects/inventory/schedules")
        yield "schedule", listed["schedules"][0]["id"]

    async def made(self, noun, body):
        answer = await self.api.post(f"/projects/inventory/{noun}s", body, 201, by="admin")
        return answer[noun]["id"]

    async def trigger_create(self):
        body = {"target": "task:build", "secret": "hidden" * 8, "config": {"password": "hidden"}}
        yield (made := await self.send("POST", "/projects/inventory/triggers", body))
        yield "trigger", made["trigger"]["id"]

    async def trigger_change(self):
        trigger_id = await self.made("trigger", {"target": "task:build"})
        yield await self.send("PATCH", f"/projects/inventory/triggers/{trigger_id}", {"enabled": False})
        yield "trigger", trigger_id

    async def trigger_delete(self):
        trigger_id = await self.made("trigger", {"target": "task:build"})
        yield await self.send("DELETE", f"/projects/inventory/triggers/{trigger_id}")
        yield "trigger", trigger_id

    async def webhook_create(self):
        yield (made := await self.send("POST", "/projects/inventory/webhooks", WEBHOOK))
        yield "webhook", made["webhook"]["id"]

    async def webhook_change(self):
        webhook_id = await self.made("webhook", WEBHOOK)
        yield await self.send("PATCH", f"/projects/inventory/webhooks/{webhook_id}", {"events": ["*"]})
        yield "webhook", webhook_id

    async def webhook_rotate(self):
        webhook_id = await self.made("webhook", WEBHOOK)
        yield await self.send("POST", f"/projects/inventory/webhooks/{webhook_id}/rotate")
        yield "webhook", webhook_id

    async def webhook_delete(self):
        webhook_id = await self.made("webhook", WEBHOOK)
        yield await self.send("DELETE", f"/projects/inventory/webhooks/{webhook_id}")
        yield "webhook", webhook_id

    async def alert_create(self):
        yield (made := await self.send("POST", "/projects/inventory/alerts", ALERT))
        yield "alert", made["alert"]["id"]

    async def alert_change(self):
        alert_id = await self.made("alert", ALERT)
        yield await self.send("PATCH", f"/projects/inventory/alerts/{alert_id}", {"enabled": False})
        yield "alert", alert_id

    async def budget_create(self):
        yield (made := await self.send("POST", "/projects/inventory/budgets", BUDGET))
        yield "budget", made["budget"]["id"]

    async def budget_change(self):
        budget_id = await self.made("budget", BUDGET)
        yield await self.send("PATCH", f"/projects/inventory/budgets/{budget_id}", {"name": "B"})
        yield "budget", budget_id

    async def budget_delete(self):
        budget_id = await self.made("budget", BUDGET)
        yield await self.send("DELETE", f"/projects/inventory/budgets/{budget_id}")
        yield "budget", budget_id

    async def alert_mute(self):
        alert_id = await self.made("alert", ALERT)
        yield await self.send("POST", f"/projects/inventory/alerts/{alert_id}/mute", {})
        yield "alert", alert_id

    async def alert_unmute(self):
        alert_id = await self.made("alert", ALERT)
        await self.api.post(f"/projects/inventory/alerts/{alert_id}/mute", {}, by="admin")
        yield await self.send("DELETE", f"/projects/inventory/alerts/{alert_id}/mute")
        yield "alert", alert_id

    async def alert_delete(self):
        alert_id = await self.made("alert", ALERT)
        yield await self.send("DELETE", f"/projects/inventory/alerts/{alert_id}")
        yield "alert", alert_id

    async def push_service_register(self):
        body = {**SERVICE, "project_id": self.api.project.id}
        yield (made := await self.send("POST", "/agent-runtimes/push-services", body))
        yield "push_service", made["service"]["id"]

    async def push_service_disable(self):
        body = {**SERVICE, "project_id": self.api.project.id}
        service = (await self.api.post("/agent-runtimes/push-services", body, 201))["service"]
        yield await self.send("DELETE", f"/agent-runtimes/push-services/{service['id']}")
        yield "push_service", service["id"]

    async def push_service_enable(self):
        async for one in self._changed_service("enable"):
            yield one

    async def push_service_delete(self):
        async for one in self._changed_service("delete"):
            yield one

    async def _changed_service(self, action):
        """Change a disabled service on the dashboard."""
        body = {**SERVICE, "project_id": self.api.project.id}
        service = (await self.api.post("/agent-runtimes/push-services", body, 201))["service"]["id"]
        await self.api.send("DELETE", f"/agent-runtimes/push-services/{service}")
        await self.sign_in()
        page = (await self.web.get("/ui/sessions")).text
        token = page.partition('name="csrf" value="')[2].partition('"')[0]
        path = f"/ui/projects/inventory/push-services/{service}/{action}"
        headers = {"X-Request-Id": "request-of-the-test"}
        yield (answer := await self.web.post(path, data={"csrf": token}, headers=headers))
        assert answer.status_code == 303, answer.text
        yield "push_service", service

    async def worker_remove(self):
        worker, _ = await self.api.worker()
        yield await self.send("DELETE", worker)
        yield "worker", worker.rpartition("/")[2]

    async def key_create(self):
        yield (made := await self.send("POST", "/projects/inventory/api-keys", {"name": "new"}))
        yield "key", made["id"]

    async def key_change(self):
        key_id = await self.key_id("read")
        yield await self.send("PATCH", f"/projects/inventory/api-keys/{key_id}", {"runs_per_minute": 5})
        yield "key", key_id

    async def key_revoke(self):
        key_id = await self.key_id("read")
        yield await self.send("DELETE", f"/projects/inventory/api-keys/{key_id}")
        yield "key", key_id

    async def project_change(self):
        yield await self.send("PATCH", "/projects/inventory", {"require_attempt": True})
        yield "project", self.api.project.id

    async def quota_put(self):
        yield await self.send("PUT", "/projects/inventory/quota", {"streams": 5}, by="system")
        yield "quota", self.api.project.id

    async def member_put(self):
        yield await self.send("POST", "/projects/inventory/members", {"user_id": "ada", "role": "viewer"})
        yield "member", "ada"

    async def member_remove(self):
        await self.api.member("ada")
        yield await self.send("DELETE", "/projects/inventory/members/ada")
        yield "member", "ada"

    async def limit_put(self):
        body = {"limits": [{"target": "task:count", "max_running": 3}]}
        yield await self.send("PUT", "/projects/inventory/concurrency-limits", body)
        yield "limit", "task:count"

    async def price_put(self):
        yield await self.send("PUT", "/projects/inventory/prices", PRICE)
        yield "price", "acme/m-1"

    async def price_delete(self):
        await self.api.send("PUT", "/projects/inventory/prices", PRICE, by="admin")
        yield await self.send("DELETE", "/projects/inventory/prices?provider=acme&model=m-1")
        yield "price", "acme/m-1"

    async def sign_in(self, key="admin"):
        """A browser that is signed in. Returns the token of its forms."""
        credential = self.api.keys.get(key, key)
        headers = {"X-Request-Id": "request-of-the-test"}
        self.response = await self.web.post("/ui/sign-in", data={"credential": credential}, headers=headers)
        for cookie in self.web.cookies.jar:
            cookie.expires = (
                None  # it ends by the clock of the test, long before a slow machine sends the next request
            )
        return self.response

    async def session_create(self):
        yield await self.sign_in()
        yield "session", (await self.sessions())[-1].id

    async def sessions(self):
        return await self.api.store.browser_sessions.of(f"api_key:{await self.key_id()}")

    async def session_refuse(self):
        key_id = await self.key_id("read")
        await self.api.send("DELETE", f"/projects/inventory/api-keys/{key_id}", by="admin")
        yield await self.sign_in("read")
        yield "key", key_id

    async def session_end(self):
        await self.sign_in()
        (session,) = await self.sessions()
        page = (await self.web.get("/ui/sessions")).text
        token = page.partition('name="csrf" value="')[2].partition('"')[0]
        path = f"/ui/sessions/{session.id}/revoke"
        headers = {"X-Request-Id": "request-of-the-test"}
        yield (answer := await self.web.post(path, data={"csrf": token}, headers=headers))
        assert answer.status_code == 303
        yield "session", session.id
