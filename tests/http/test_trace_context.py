"""A run keeps the trace context of the request that created it, and its workers get it: the server exports no traces."""

import pytest
import structlog

from runstead.http.framework.app import HttpApp
from runstead.server.telemetry import add_request_id
from tests.core.test_trace_context import PARENT, TRACE

from .wire import Wires, request

pytestmark = pytest.mark.postgres

HEADERS = {"traceparent": PARENT, "tracestate": "vendor=1"}


async def context_of(api, target):
    """The headers in the answer to the worker that claims the run of this target; None where they are absent."""
    worker, _ = await api.worker()
    run = (await api.claim(worker, targets=[target]))["run"]
    return {name: run.get(name) for name in HEADERS}


async def test_a_worker_gets_the_context_of_the_creation_at_each_claim(api):
    run = await api.create(api.task("task:traced"), headers=HEADERS)
    assert "traceparent" not in await api.run(run["run_id"])
    worker, _ = await api.worker()
    first = (await api.claim(worker, targets=["task:traced"]))["run"]
    assert {name: first[name] for name in HEADERS} == HEADERS
    renewed = await api.post(f"{worker}/runs/{run['run_id']}/lease", {"lease_duration_seconds": 60})
    assert renewed["run"]["traceparent"] == PARENT
    await api.post(f"{worker}/runs/{run['run_id']}/release", {"retry_after_seconds": 0})
    assert await context_of(api, "task:traced") == HEADERS


async def test_without_a_valid_context_the_members_are_absent(api):
    for headers in ({}, {"traceparent": "00-nonsense", "tracestate": "vendor=1"}, {"tracestate": "vendor=1"}):
        await api.create(api.task("task:untraced"), headers=headers)
        worker, _ = await api.worker()
        run = (await api.claim(worker, targets=["task:untraced"]))["run"]
        assert not run.keys() & HEADERS.keys()


async def test_runs_of_batches_retries_schedules_and_triggers_keep_the_context(api):
    batch = {"runs": [{"kind": "task", "request": {"target": "task:batched"}}]}
    await api.post("/projects/inventory/batches", batch, 202, headers=HEADERS)
    assert await context_of(api, "task:batched") == HEADERS

    first = await api.create(api.task("task:retried"))
    await api.complete(first["run_id"], "failed")
    await api.post(f"/runs/{first['run_id']}/retry", status=202, headers=HEADERS)
    assert await context_of(api, "task:retried") == HEADERS

    nightly = {"name": "n", "target": {"kind": "task", "id": "nightly"}, "schedule": "0 3 * * *"}
    schedule = (await api.post("/projects/inventory/schedules", nightly, 201))["schedule"]
    place = f"/projects/inventory/schedules/{schedule['id']}/runs"
    await api.post(place, {"idempotency_key": "k"}, 201, headers=HEADERS)
    assert await context_of(api, "task:nightly") == HEADERS

    made = await api.post("/projects/inventory/triggers", {"target": "task:called"}, 201, by="admin")
    await api.send("POST", f"/triggers/{made['token']}", b"", by=None, headers=HEADERS)
    assert await context_of(api, "task:called") == HEADERS


async def test_a_repeated_creation_keeps_the_context_of_the_first(api):
    body = api.task("task:twice", public_id="twice")
    await api.create(body, headers=HEADERS)
    await api.create(body, headers={"traceparent": PARENT.replace(TRACE, "1" * 32)})
    assert await context_of(api, "task:twice") == HEADERS


async def test_a_push_service_gets_the_context_as_headers(pushing):
    await pushing.register(agent_id="scribe")
    conversation_id = await pushing.api.conversation(project_id=pushing.api.project.id)
    agent = pushing.api.agent(conversation_id, request={"input": {"messages": []}})
    await pushing.api.create(agent, headers=HEADERS)
    await pushing.tick()
    (request,) = pushing.service.requests
    assert {name: request.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("plain", [True, False])
async def test_a_line_of_the_access_log_has_the_trace_id(api, plain):
    wires = Wires(HttpApp(api.app, api.authenticator, 0.0), plain=plain)
    with structlog.testing.capture_logs(processors=[add_request_id]) as lines:
        await wires.ask(request("GET", "/healthz", traceparent=PARENT))
        await wires.ask(request("GET", "/healthz"))
    assert [line.get("trace_id") for line in lines if line["event"] == "request"] == [TRACE, None]
