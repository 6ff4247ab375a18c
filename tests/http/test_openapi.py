"""`/openapi.json` is valid, whole and true."""

import itertools
import json
import re
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from runstead import limits
from runstead.http.app import operations
from runstead.http.openapi import codes_of, document
from runstead.http.problems import STATUS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def told():
    return json.loads(json.dumps(document(operations())))


@pytest.fixture(scope="module")
def schemas(told):
    return told["components"]["schemas"]


async def test_the_document_is_served_to_anybody(desk, told):
    assert await desk.get("/openapi.json", by=None) == told


def test_the_document_is_valid(told):
    assert told["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(told).iter_errors()) == []


def test_it_covers_exactly_the_routes_that_are_served(desk, told):
    served = {(route.path, method) for route in desk.http_app._router.routes for method in methods(route)}
    assert served == {(path, method.upper()) for path, found in told["paths"].items() for method in found}


def methods(route):
    return route.endpoint._operations


def test_every_operation_says_what_it_does_under_a_name_of_its_own(told):
    found = [operation for path in told["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in found}) == len(found)
    assert all(operation["summary"].endswith(".") for operation in found)


@pytest.mark.parametrize("operation", operations(), ids=lambda o: f"{o.method} {o.path}")
def test_every_operation_tells_its_codes_and_no_others(told, operation):
    responses = told["paths"][operation.path][operation.method.lower()]["responses"]
    shown = {}
    for status, response in responses.items():
        if status == "304":
            assert "content" not in response
        elif not status.startswith("2"):
            assert list(response["content"]) == ["application/problem+json"]
            shown |= dict.fromkeys(re.findall(r"`([A-Z_]{4,})`:", response["description"]), int(status))
    assert shown == {code: STATUS[code] for code in codes_of(operation)}
    assert str(operation.status) in responses


def test_what_a_creation_takes_is_told_kind_by_kind(schemas):
    cases = {
        case["if"]["properties"]["kind"]["const"]: case["then"] for case in schemas["CreateRun"]["allOf"]
    }
    names = {kind: case["properties"]["request"]["$ref"].rpartition("/")[2] for kind, case in cases.items()}
    assert names == {
        "agent": "AgentRequest",
        "task": "TaskRequest",
        "eval": "TaskRequest",
        "workflow": "WorkflowRequest",
    }
    owners = {
        kind: case["properties"]["owner"]["properties"]["kind"]["const"] for kind, case in cases.items()
    }
    assert owners == {"agent": "conversation", "task": "project", "eval": "project", "workflow": "project"}
    assert schemas["TaskRequest"]["required"] == ["target"]
    assert schemas["CreateRun"]["required"] == ["kind", "owner", "request"]


def test_limits_and_choices_are_told(schemas, told):
    run_id, _ = schemas["CreateRun"]["properties"]["public_id"]["anyOf"]
    assert (run_id["minLength"], run_id["maxLength"]) == (1, limits.run_id_chars_max)
    events = schemas["AppendEvents"]["properties"]["events"]
    assert (events["minItems"], events["maxItems"]) == (1, limits.events_per_append_max)
    assert schemas["CompleteRun"]["properties"]["status"]["enum"] == ["cancelled", "completed", "failed"]
    lease = schemas["ClaimRuns"]["properties"]["lease_duration_seconds"]
    assert (lease["minimum"], lease["maximum"]) == (limits.lease_s_min, limits.lease_s_max)
    parameters = told["paths"]["/runs/{run_id}/events"]["get"]["parameters"]
    limit = next(one["schema"] for one in parameters if one["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 500, 100)


def test_values_that_are_passed_through_have_their_true_types(schemas):
    run = schemas["RunView"]["properties"]
    assert run["artifacts"]["type"] == "array"
    assert run["labels"]["type"] == "object"
    assert run["error"]["type"] == run["config"]["type"] == run["metadata"]["type"] == ["object", "null"]
    assert run["input"] == run["output"] == {}
    assert len(set(schemas["RunView"]["required"]) & set(run)) >= 33
    assert schemas["EventView"]["properties"]["payload"]["type"] == "object"


async def test_a_run_in_every_state_is_as_its_schema_says(api, told):
    from jsonschema import Draft202012Validator

    def check(name, value):
        schema = {"$ref": f"#/components/schemas/{name}", "components": told["components"]}
        Draft202012Validator(schema).validate(value)

    taken, worker = await api.claimed(input=[1], config={"a": 1})
    check("WorkerRun", taken)
    run = f"/runs/{taken['run_id']}"
    check("RunAnswer", await api.post(f"{run}/wait", {"reason": "tool", "tool_call_id": "t"}))
    check("Resumed", await api.post(f"{run}/resume", {"type": "tool_result", "tool_call_id": "t"}))
    check("Appended", await api.post(f"{run}/events", {"events": [{"type": "A"}]}))
    private = {"events": [{"type": "AGENT_RUN_MODEL_CALL_CONTEXT"}], "expected_previous_event_id": 2}
    check("Appended", await api.post(f"{run}/events", private))
    check("SessionAnswer", await api.put(f"{worker}/runs/{taken['run_id']}/session", {"session_key": "s"}))
    check("Cancelled", await api.post(f"{run}/cancel"))
    check("AttemptList", await api.get(f"{run}/attempts"))
    check("EventPage", await api.get(f"{run}/events"))
    check("RunPage", await api.get("/runs"))
    agent, path = await api.agent_run()
    await api.complete(agent["run_id"], "failed", artifacts=[{"name": "a"}], output=1, error_detail=[2])
    check("RunView", await api.run(agent["run_id"]))
    check("ProjectionView", await api.get(path))
    check("Snapshot", await api.get(f"{path}/snapshot"))
    check("ConversationEventPage", await api.get(f"{path}/events"))


#: Made-up requests for these would wait for events that nobody appends.
ENDLESS = {"/runs/{run_id}/stream", "/conversations/{conversation_id}/runs/{run_id}/stream"}


async def names(api):
    run, path = await api.agent_run(request={"implementation_kind": "claude"})
    worker, _ = await api.worker("claude")
    await api.post(f"{worker}/claim", {})
    found = {"project": api.project.slug, "run_id": run["run_id"], "conversation_id": path.split("/")[2]}
    return {**found, "worker_id": worker.split("/")[-1], "owner": api.project.id}


async def test_made_up_requests_are_answered_as_documented(desk):
    known = await names(desk)
    schema = openapi.from_asgi("/openapi.json", desk.http_app)
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in ENDLESS:
            for mode in GenerationMode:
                with suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
                    answered_as_documented(operation, mode, known, desk.keys["admin"])


def answered_as_documented(operation, mode, known, key):
    owners = {"project": known["owner"], "conversation": known["conversation_id"]}
    turns = itertools.cycle((1, 1, 0))

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        if next(turns):  # mostly of things that are there
            case.query = {name: made for name, made in case.query.items() if name != "project"}
            case.path_parameters = {
                name: known.get(name, made) for name, made in case.path_parameters.items()
            }
        if isinstance(case.body, dict):
            case.body.pop("wait_seconds", None)
            if isinstance(owner := case.body.get("owner"), dict) and owner.get("kind") in owners:
                owner["id"] = owners[owner["kind"]]
        case.headers.pop("X-API-Key", None)
        case.headers["Authorization"] = f"Bearer {key}"
        case.call_and_validate(checks=CHECKS)

    check()
