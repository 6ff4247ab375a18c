"""`/openapi.json` is valid, complete and correct."""

import json
import re
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from runstead.core import limits
from runstead.http.create_bodies import new_run
from runstead.http.framework.app import operations
from runstead.http.framework.body import decode_body
from runstead.http.framework.endpoint import Nothing
from runstead.http.framework.problems import STATUS
from runstead.http.openapi.document import codes_of, document
from runstead.http.openapi.examples import EXAMPLES
from runstead.http.openapi.names import name_shapes


@pytest.fixture(scope="module")
def openapi():
    return json.loads(json.dumps(document(operations())))


@pytest.fixture(scope="module")
def schemas(openapi):
    return openapi["components"]["schemas"]


async def test_the_document_needs_no_credential(driver, openapi):
    assert await driver.get("/openapi.json", by=None) == openapi


def test_the_document_is_valid(openapi):
    assert openapi["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(openapi).iter_errors()) == []


def test_it_covers_exactly_the_routes_that_are_served(driver, openapi):
    endpoints = driver.http_app.router.endpoints
    served = {(endpoint.path, method) for endpoint in endpoints for method in endpoint.methods}
    assert served == {(path, method.upper()) for path, found in openapi["paths"].items() for method in found}


def test_every_operation_has_a_summary_and_a_unique_id(openapi):
    found = [operation for path in openapi["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in found}) == len(found)
    assert all(operation["summary"].endswith(".") for operation in found)


@pytest.mark.parametrize("operation", operations(), ids=lambda o: f"{o.method} {o.path}")
def test_every_operation_documents_exactly_its_codes(openapi, operation):
    responses = openapi["paths"][operation.path][operation.method.lower()]["responses"]
    shown = {}
    for status, response in responses.items():
        if status == "304":
            assert "content" not in response
        elif not status.startswith("2"):
            assert list(response["content"]) == ["application/problem+json"]
            shown |= dict.fromkeys(re.findall(r"`([A-Z_]{4,})`:", response["description"]), int(status))
    assert shown == {code: STATUS[code] for code in codes_of(operation)}
    assert str(operation.status) in responses


def test_the_body_of_a_creation_is_described_per_kind(schemas):
    kinds = schemas["CreateRun"]["discriminator"]["mapping"]
    assert [one["$ref"] for one in schemas["CreateRun"]["oneOf"]] == list(kinds.values())
    assert set(kinds) == {"agent", "task", "eval", "workflow"}
    for kind, reference in kinds.items():
        body = schemas[reference.rpartition("/")[2]]
        assert body["required"] == ["kind", *(["owner"] if kind == "agent" else []), "request"]
        assert body["properties"]["kind"]["const"] == kind
        owner = "Conversation" if kind == "agent" else "Project"
        assert body["properties"]["owner"] == {"$ref": f"#/components/schemas/{owner}Owner"}
        assert body["properties"]["request"] == {"$ref": f"#/components/schemas/{kind.title()}Request"}
    assert schemas["TaskRequest"]["required"] == schemas["EvalRequest"]["required"] == ["target"]


TARGETS = [
    ({"runtime_target_kind": "environment"}, False),
    ({"runtime_target_kind": "environment", "runtime_target_environment_id": str(UUID(int=1))}, True),
    ({"runtime_target_kind": "preview_branch", "runtime_target_environment_id": str(UUID(int=1))}, False),
    ({"runtime_target_kind": "preview_branch", "runtime_target_branch_id": str(UUID(int=1))}, True),
    ({"runtime_target_kind": "main_branch", "runtime_target_branch_id": str(UUID(int=1))}, False),
    ({"runtime_target_branch_id": str(UUID(int=1))}, False),
    ({"runtime_target_environment_id": None}, True),
]


@pytest.mark.parametrize(("members", "fits"), TARGETS)
async def test_the_schema_of_a_creation_accepts_what_the_server_accepts(driver, openapi, members, fits):
    schema = {"$ref": "#/components/schemas/CreateRun", "components": openapi["components"]}
    body = driver.task(request=members)
    assert Draft202012Validator(schema).is_valid(body) is fits
    assert (await driver.send("POST", "/runs", body)).status_code == (202 if fits else 400)


BODIES = [
    ("CreateRun", {"kind": "task", "request": {"target": "task:t"}}, True),
    ("CreateRun", {"kind": "task", "request": {"target": "eval:t"}}, False),
    ("CreateRun", {"kind": "eval", "request": {"target": "eval:t"}}, True),
    ("CreateRun", {"kind": "task", "request": {"target": "task:"}}, False),
    ("CreateRun", {"kind": "workflow", "request": {}}, False),
    ("CreateRun", {"kind": "workflow", "request": {"workflow_id": None}}, False),
    ("CreateRun", {"kind": "workflow", "request": {"workflow_id": "w"}}, True),
    ("CreateRun", {"kind": "workflow", "request": {"target": "workflow:w"}}, True),
    ("ResumeRun", {"type": "tool_result"}, False),
    ("ResumeRun", {"type": "tool_result", "tool_call_id": None}, False),
    ("ResumeRun", {"type": "tool_result", "tool_call_id": "c"}, True),
    ("ResumeRun", {"type": "event"}, True),
    ("AddMessage", {"role": "user", "parts": [{"text": "a"}]}, False),
    ("AddMessage", {"role": "user", "parts": [{"type": "text", "text": "a"}]}, True),
    ("FormField", {"name": "a", "label": "A", "type": "select"}, False),
    ("FormField", {"name": "a", "label": "A", "type": "checkbox", "defaultValue": "yes"}, False),
    ("FormField", {"name": "a", "label": "A", "type": "checkbox", "defaultValue": True}, True),
    ("FormField", {"name": "a", "label": "A", "type": "text", "defaultValue": True}, False),
    ("FormField", {"name": "a", "label": "A", "type": "text", "secret": True, "defaultValue": True}, True),
    ("ScheduleTarget", {"kind": "task", "id": "a", "conversation_mode": "none"}, False),
    ("ScheduleTarget", {"kind": "agent", "id": "a", "conversation_mode": "none"}, True),
    ("ScheduleTarget", {"kind": "agent", "id": "a", "conversation_mode": "existing"}, False),
    ("ScheduleTarget", {"kind": "agent", "id": "a", "conversation_id": str(UUID(int=1))}, True),
    ("RegisterPushService", {"scope_kind": "project"}, False),
    ("RegisterPushService", {"scope_kind": "global", "project_id": "p"}, False),
    ("RegisterPushService", {"scope_kind": "global", "base_url": "ftp://a.example"}, False),
    ("RegisterPushService", {"scope_kind": "global", "base_url": "https://a@b.example"}, False),
    ("RegisterPushService", {"scope_kind": "global"}, True),
    ("AppendEvents", {"events": [{"type": "CUSTOM", "idempotency_key": "\0"}]}, False),
    ("AppendEvents", {"events": [{"type": "RUN_FINISHED"}]}, False),
    ("AppendEvents", {"events": [{"type": "CUSTOM", "value": 1}]}, True),
]


@pytest.mark.parametrize(("name", "body", "fits"), BODIES)
def test_rules_between_members_are_described(openapi, name, body, fits):
    if name == "CreateRun":
        body = {**body, "owner": {"kind": "project", "id": str(UUID(int=1))}}
    if name == "RegisterPushService":
        urls = {"base_url": "https://a.example", "invoke_url": "https://a.example/b?c"}
        body = {"service_name": "a", "service_key": "k", **urls, **body}
    schema = {"$ref": f"#/components/schemas/{name}", "components": openapi["components"]}
    assert Draft202012Validator(schema).is_valid(body) is fits


def test_a_repeated_schema_has_one_name(schemas):
    run = schemas["RunView"]["properties"]
    body = schemas["CreateTaskRun"]["properties"]
    assert run["labels"] == {"$ref": "#/components/schemas/Labels"} == body["labels"]["anyOf"][0]
    assert run["kind"] == {"$ref": "#/components/schemas/RunKind"}
    assert schemas["RunKind"] == {
        "title": "RunKind",
        "type": "string",
        "enum": ["agent", "eval", "task", "workflow"],
    }
    kind = schemas["CreateConversation"]["properties"]["type"]
    assert kind == {"allOf": [{"$ref": "#/components/schemas/ConversationType"}], "default": "chat"}


def test_limits_and_choices_are_described(schemas, openapi):
    run_id, _ = schemas["CreateTaskRun"]["properties"]["public_id"]["anyOf"]
    assert (run_id["minLength"], run_id["maxLength"]) == (1, limits.run_id_chars_max)
    events = schemas["AppendEvents"]["properties"]["events"]
    assert (events["minItems"], events["maxItems"]) == (1, limits.events_per_append_max)
    assert schemas["TerminalStatus"]["enum"] == ["cancelled", "completed", "failed"]
    lease = schemas["ClaimRuns"]["properties"]["lease_duration_seconds"]
    assert (lease["minimum"], lease["maximum"]) == (limits.lease_s_min, limits.lease_s_max)
    parameters = openapi["paths"]["/runs/{run_id}/events"]["get"]["parameters"]
    limit = next(one["schema"] for one in parameters if one["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 500, 100)


def test_raw_values_have_their_types(schemas):
    run = schemas["RunView"]["properties"]
    assert run["artifacts"]["type"] == "array"
    nothing, an_object = {"type": "null"}, {"$ref": "#/components/schemas/JsonObject"}
    assert run["config"]["anyOf"] == run["metadata"]["anyOf"] == [an_object, nothing]
    assert run["error"]["anyOf"] == [{"$ref": "#/components/schemas/RunError"}, nothing]
    assert schemas["JsonObject"]["type"] == schemas["RunError"]["type"] == "object"
    assert schemas["Labels"]["type"] == "object"
    assert run["input"] == run["output"] == {}
    assert len(set(schemas["RunView"]["required"]) & set(run)) >= 33
    assert schemas["EventView"]["properties"]["payload"] == an_object


def test_nullable_schemas_have_names_too(schemas):
    members = schemas["AgentRequest"]["properties"]
    kind = {"$ref": "#/components/schemas/AgentRequestSourceTargetKind"}
    assert members["source_target_kind"]["anyOf"] == [kind, {"type": "null"}]
    assert "release" in schemas["AgentRequestSourceTargetKind"]["enum"]


def test_a_choice_has_a_type():
    found = {"properties": {"a": {"enum": [True]}, "b": {"enum": ["x", "y"]}, "c": {"enum": [1, 2]}}}
    name_shapes({"components": {"schemas": {"Found": found}}, "paths": {}})
    assert [one["type"] for one in found["properties"].values()] == ["boolean", "string", "integer"]


def test_a_stream_is_described_per_event(openapi):
    answer = openapi["paths"]["/runs/{run_id}/stream"]["get"]["responses"]["200"]
    schema = Draft202012Validator(answer["content"]["text/event-stream"]["schema"])
    assert schema.is_valid({"id": "1", "event": "Custom", "data": "{}"})
    assert not schema.is_valid({"id": "", "event": "Custom", "data": "{}"})
    assert not schema.is_valid({"id": "1", "event": "Custom"})
    assert schema.is_valid("id: 1\n\n"), "what a client has that takes the stream for a text"


@pytest.mark.parametrize(
    ("header", "fits"),
    [("*", True), ('"1.2.3"', True), ('W/"a", "b"', True), ("1.2.3", False), ('"a" "b"', False), ("", False)],
)
def test_the_format_of_if_match_is_described(openapi, header, fits):
    [if_match] = [
        one for one in openapi["paths"]["/runs/{run_id}"]["patch"]["parameters"] if one["name"] == "If-Match"
    ]
    assert if_match["required"] is True
    assert Draft202012Validator(if_match["schema"]).is_valid(header) is fits


@pytest.mark.parametrize(
    "operation", [o for o in operations() if o.body is not Nothing], ids=lambda o: o.path
)
def test_every_body_has_an_example(operation):
    assert operation.body.__name__ in EXAMPLES


def test_a_route_that_stores_nothing_has_no_idempotency_key(openapi):
    def takes_one(path):
        operation = openapi["paths"][path]["post"]
        headers = next(iter(operation["responses"].values())).get("headers", {})
        named = "Idempotency-Key" in {one["name"] for one in operation["parameters"]}
        assert named is ("Idempotent-Replayed" in headers)
        return named

    assert takes_one("/runs")
    assert not takes_one("/runs/{run_id}/children/{child_run_id}/event-writer-token")


def linked(openapi):
    """Yield (operation, link) of every link."""
    for path in openapi["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                for link in response.get("links", {}).values():
                    yield operation["operationId"], link


def test_a_creation_links_to_the_operations_on_the_run(openapi):
    links = {(source, link["operationId"]): link["parameters"] for source, link in linked(openapi)}
    assert links["create_run", "get_run"] == {"run_id": "$response.body#/run/run_id"}
    assert links["claim_runs", "complete_run"] == {
        "run_id": "$response.body#/run/run_id",
        "header.X-Lease-Token": "$response.body#/run/lease_token",
    }
    assert links["claim_runs", "put_session"]["worker_id"] == "$request.path.worker_id"
    assert links["register_worker", "claim_runs"] == {"worker_id": "$response.body#/worker/id"}
    assert links["create_conversation", "get_conversation"] == {"conversation_id": "$response.body#/id"}
    assert links["append_events", "get_event"] == {
        "run_id": "$request.path.run_id",
        "event_id": "$response.body#/latest_event_id",
    }
    assert links["create_conversation", "add_message"] == {"conversation_id": "$response.body#/id"}
    assert links["create_input_request", "respond_to_input_request"] == {
        "conversation_id": "$request.path.conversation_id",
        "input_request_id": "$response.body#/id",
    }
    assert links["create_schedule", "run_schedule"]["schedule_id"] == "$response.body#/schedule/id"
    assert links["register_push_service", "heartbeat_push_service"] == {
        "service_id": "$response.body#/service/id"
    }
    made = {"cancel_run", "append_events", "list_events", "stream_events", "get_conversation_run"}
    assert made <= {target for source, target in links if source == "create_run"}
    assert "complete_run" not in {source for source, _ in links}, "it makes nothing"


def test_every_link_has_all_path_parameters(openapi):
    needed = {
        operation["operationId"]: {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        for path in openapi["paths"].values()
        for operation in path.values()
    }
    for _, link in linked(openapi):
        assert {name for name in link["parameters"] if "." not in name} == needed[link["operationId"]]


async def test_a_run_in_every_state_matches_its_schema(api, openapi):
    def check(name, value):
        schema = {"$ref": f"#/components/schemas/{name}", "components": openapi["components"]}
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


EXAMPLES_OF = [(shape, name, body) for shape, found in EXAMPLES.items() for name, body in found.items()]


@pytest.mark.parametrize(("shape", "name", "body"), EXAMPLES_OF, ids=lambda part: str(part)[:20])
def test_an_example_is_accepted_by_the_server(openapi, shape, name, body):
    schema = {"$ref": f"#/components/schemas/{shape}", "components": openapi["components"]}
    Draft202012Validator(schema).validate(body)
    [decoded] = {operation.body for operation in operations() if operation.body.__name__ == shape}
    read = decode_body(json.dumps(body).encode(), decoded)
    if shape == "CreateRun":
        assert new_run(read).kind == name


def test_an_example_is_shown_with_its_route(openapi):
    body = openapi["paths"]["/runs/{run_id}/complete"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["completed"] == {"value": EXAMPLES["CompleteRun"]["completed"]}
