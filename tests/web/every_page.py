"""Every page of the dashboard, with a row in every table: the paths come from the routes of the pages."""

import re

from runstead.web.framework.app import NOUNS
from tests.support.until import until

from .run_pages import InputRun, TaskRun, text_delta, text_start, tool_call, tool_result
from .test_run_input import FIELDS

PROJECT = "/ui/projects/default"  #: Paths that serve a part of a page, a stream or a file, or redirect.
_NO_PAGES = re.compile(
    r"/live$|\.(csv|json|ndjson|svg|png|txt)$|/(artifacts|values)/\{name\}$|\{run_id\}/log$|^/ui/?$"
)
_VIEWS = ("timeline", "conversation", "log", "events", "tree")


def every_page(api) -> list[str]:
    """Create a row for every table. Return the paths of all pages and of their variants."""
    project = "/projects/default"
    hook = api.post(f"{project}/webhooks", {"url": "https://hooks.invalid/a-long-path", "events": ["*"]})
    hook = hook["webhook"]["id"]
    alert = api.post(f"{project}/alerts", {"kind": "pending_age", "target": "task:report", "threshold": 1})
    alert = alert["alert"]["id"]
    spendable = {
        "scope": {"kind": "target", "value": "task:report"},
        "period": "day",
        "limit": {"cost": "2.50"},
    }
    api.post(f"{project}/budgets", spendable | {"on_reached": "alert"})
    _described_worker(api)
    ended, waiting = _failed_run(api), TaskRun(api, title="Waits")
    api.post(f"/runs/{waiting.id}/signals", {"name": "stock-of-the-country", "payload": {"pieces": 7}})
    waiting.wait("approval", tool_call_id="approval:1", tool_name="approval")
    asked = InputRun(api, *FIELDS, description="Two lines\nof it")
    schedule = api.post(
        f"{project}/schedules",
        {
            "name": "Weekly report of every country " * 5,
            "target": {"kind": "workflow", "id": "weekly-report-of-every-country"},
            "schedule": "0 6 * * mon",
            "timezone": "Europe/Lisbon",
        },
    )["schedule"]["id"]
    batch = {
        "name": "Index of November " * 8,
        "runs": [{"kind": "task", "request": {"target": "task:index"}}] * 3,
    }
    batch = api.post(f"{project}/batches", batch)["batch"]["id"]
    api.post(f"{project}/triggers", {"target": "task:import-feed", "config": {"a": 1}})
    service = {
        "service_name": "Guides of the north",
        "service_key": "guides-of-the-north",
        "scope_kind": "project",
        "project_id": "default",
        "base_url": "https://guides.example",
        "invoke_url": "https://guides.example/invoke",
    }
    api.post("/agent-runtimes/push-services", service)
    api.post(f"{project}/members", {"user_id": "a-user-with-a-long-id@example.com", "role": "member"})
    api.post(f"{project}/api-keys", {"name": "A key for the reports of a week", "scopes": ["runs:read"]})
    quotas = {"runs_pending": 5_000}
    limits = {
        "limits": [
            {
                "target": "task:index",
                "max_running": 5,
                "rate": {"limit": 100, "period_seconds": 60, "per_key": True},
            },
            {"max_running": 0},
        ]
    }
    prices = {"provider": "anthropic", "model": "claude-large", "input": 3_000_000, "output": 15_000_000}
    for path, body in (("concurrency-limits", limits), ("prices", prices), ("quota", quotas)):
        api.http.put(f"{project}/{path}", json=body).raise_for_status()
    deliveries = until(
        lambda: api.get(f"{project}/webhooks/{hook}/deliveries")["data"], "a delivery to be listed"
    )
    bulk = {"action": "delete", "filter": {"status": ["running", "waiting"], "label": ["no:such"]}}
    bulk = api.post(f"{project}/bulk", bulk)["job"]["id"]
    names = {
        "project": "default",
        "run_id": ended.id,
        "schedule_id": schedule,
        "batch_id": batch,
        "job_id": bulk,
        "webhook_id": hook,
        "alert_id": alert,
        "delivery_id": deliveries[0]["id"],
    }
    routes = {page.path for noun in NOUNS for page in noun.pages.registered if page.method == "GET"}
    paths = sorted(path.format_map(names) for path in routes if not _NO_PAGES.search(path))
    return [
        *paths,
        f"{PROJECT}/list/new?target=workflow:order",
        *(f"{ended.page}?view={view}" for view in _VIEWS),
        waiting.page,
        asked.page,
        f"{PROJECT}/runs?status=failed&label=a:b",
        f"{PROJECT}/runs/no-such-run",
    ]


def _described_worker(api):
    """A worker with a version of its code and a schema of its target's input."""
    items = {"type": "object", "properties": {"name": {"type": "string"}, "pieces": {"type": "integer"}}}
    schema = {
        "type": "object",
        "properties": {
            "customer": {"type": "string", "description": "Who ordered"},
            "items": {"type": "array", "items": items},
            "express": {"type": "boolean"},
        },
        "required": ["customer"],
    }
    target = {"target": "workflow:order", "description": "Takes an order.", "input_schema": schema}
    worker = {
        "implementation_kind": "e2e",
        "worker_key": "orders",
        "version": "2026-03-20",
        "targets": [target],
    }
    api.post("/agent-workers/projects/default/workers", worker)


def _failed_run(api):
    """A run with every part that a page can show."""
    run = TaskRun(
        api, input={"a": 1}, config={"b": 2}, title="Report of the week with a long title that needs its room"
    )
    undo = {"target": "task:release", "title": "Release the orders", "config": {"country": "PT"}}
    api.http.post(f"/runs/{run.id}/compensations", json=undo, headers=run.proof).raise_for_status()
    run.step("count orders of the country", "1")
    run.end_step("count orders of the country", "1")
    run.step("fetch orders of the country", "2")
    run.append(text_start(), text_delta("Words"), *tool_call(), tool_result("x"))
    run.append({"type": "REASONING_MESSAGE_START", "messageId": "r", "role": "reasoning"})
    run.append({"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "Because"})
    run.append({"type": "CUSTOM", "name": "run.progress", "value": {"fraction": 0.5, "message": "half"}})
    run.append({"type": "CUSTOM", "name": "run.value", "value": {"name": "stage", "value": {"rows": 7}}})
    run.log("2026-03-20T12:00:00.000Z ERROR [attempt 1] shop: no route\nTraceback\n")
    run.artifact("orders.csv", b"country,orders\nPT,312\n", "text/csv")
    child = TaskRun(api, parent=run)
    child.complete()
    traceback = 'Traceback (most recent call last):\n  File "app.py", line 4, in report\n    read(line)\nValueError: 9'
    error = {"code": "ValueError", "message": "line 4,117 has 9 fields", "traceback": traceback}
    usage = {"provider": "anthropic", "model": "claude-large", "inputTokens": 1_000, "outputTokens": 20}
    run.complete(
        "failed", error=error, metadata=usage, logs="2026-03-20T12:00:00.000Z ERROR [attempt 1] x\n" * 60
    )
    return run
