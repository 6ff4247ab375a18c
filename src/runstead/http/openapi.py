"""The OpenAPI 3.1 document, from the same types that decode requests and encode answers."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from runstead import __version__, limits
from runstead.errors import CODES
from runstead.http.create_bodies import REQUESTS, CreateRun
from runstead.http.endpoint import Nothing, Operation
from runstead.http.problems import STATUS, Problem
from runstead.http.runs import Artifact, CompleteRun, UsageMetadata

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_PATH_PARTS: Final = re.compile(r"{(\w+)}")

#: What any route that reads a credential or a body may answer, beside its own codes.
_WITH_CREDENTIAL: Final = ("INVALID_REQUEST", "UNAUTHENTICATED", "FORBIDDEN")
_WITH_PATH: Final = ("INVALID_REQUEST", "NOT_FOUND")
_WITH_BODY: Final = ("BODY_TOO_LARGE",)
_WITH_KEY: Final = ("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_KEY_IN_USE")

#: In the order in which they are read.
_TAGS: Final = (
    "Runs",
    "Events",
    "Conversations",
    "Workers",
    "Services",
    "Families",
    "Lists",
    "Administration",
    "Health",
    "Documentation",
)

_PATH_HELP: Final = {
    "run_id": "The run's public id.",
    "project": "A project's id or slug.",
    "conversation_id": "The conversation's id.",
    "worker_id": "The worker's id.",
    "service_id": "The push service's id.",
    "child_run_id": "The child's public id.",
    "key_id": "The key's id (not the key).",
    "user_id": "The user's id.",
}


def codes_of(operation: Operation) -> tuple[str, ...]:
    """Every error code that the operation documents."""
    codes = list(operation.errors)
    if not operation.open:
        codes += _WITH_CREDENTIAL
    if _PATH_PARTS.search(operation.path):
        codes += _WITH_PATH
    if operation.method != "GET":
        codes += _WITH_BODY
    if operation.method in {"POST", "PATCH"}:
        codes += _WITH_KEY
    return tuple(sorted({*codes, "INTERNAL"}))


def document(operations: Sequence[Operation]) -> Schema:
    shapes: list[Any] = [Problem, UsageMetadata, Artifact, *REQUESTS.values()]
    shapes += [o.body for o in operations if o.body is not Nothing]
    shapes += [o.answer for o in operations if o.answer is not None]
    shapes += [o.query for o in operations if o.query is not Nothing]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    schema_of = dict(zip(map(id, shapes), schemas, strict=True))
    _describe_values(components)
    paths: dict[str, Schema] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation, schema_of, components)
    for shape in {o.query for o in operations if o.query is not Nothing}:
        del components[shape.__name__]  # told parameter by parameter
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Runstead",
            "version": __version__,
            "summary": "A self-hosted control plane for durable runs",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"api_key": []}],
        "tags": [{"name": tag} for tag in _TAGS],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A JWT, an API key (`vf_<prefix>_<secret>`) or a worker's token.",
                },
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _ref(shape: type[Any]) -> Schema:
    return {"$ref": _REF.format(name=shape.__name__)}


def _describe_values(components: dict[str, Schema]) -> None:
    """Values that are passed through and checked in a second step: say what that step takes."""
    create = components[CreateRun.__name__]
    create["properties"]["request"] = {
        "type": "object",
        "description": "AgentRequest, TaskRequest (also for evals) or WorkflowRequest, by `kind`.",
    }
    create["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {
                "properties": {
                    "request": _ref(shape),
                    "owner": {
                        "properties": {"kind": {"const": "conversation" if kind == "agent" else "project"}}
                    },
                }
            },
        }
        for kind, shape in REQUESTS.items()
    ]
    for shape in (REQUESTS["task"], REQUESTS["workflow"]):
        components[shape.__name__]["properties"]["target"]["description"] = "`<kind>:<id>`"
    components[REQUESTS["workflow"].__name__]["anyOf"] = [
        {"required": ["workflow_id"]},
        {"required": ["target"]},
    ]
    complete = components[CompleteRun.__name__]["properties"]
    complete["metadata"]["anyOf"] = [_ref(UsageMetadata), {"type": "null"}]
    complete["artifacts"]["anyOf"][0]["items"] = _ref(Artifact)
    complete["output"]["description"] = (
        f"One over {limits.output_bytes_max >> 20} MiB fails the run with OUTPUT_TOO_LARGE."
    )
    if "AppendEvents" in components:
        components["AppendEvents"]["properties"]["events"]["items"] = {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": limits.event_type_chars_max,
                    "description": "Any type but RUN_FINISHED and RUN_ERROR.",
                }
            },
            "description": "An event: a flat object, less than 256 KiB as JSON.",
        }


def _operation(operation: Operation, schema_of: dict[int, Any], components: dict[str, Schema]) -> Schema:
    spec: Schema = {
        "operationId": f"{operation.tag.lower()}_{operation.handler.__name__}",
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *_path_parameters(operation),
            *_query_parameters(operation, components),
            *_header_parameters(operation),
        ],
        "responses": _responses(operation, schema_of),
    }
    rest = (operation.handler.__doc__ or "").strip().partition("\n\n")[2]
    if rest:
        spec["description"] = " ".join(rest.split())
    if operation.open:
        spec["security"] = []
    if operation.body is not Nothing:
        needed = bool(components[operation.body.__name__].get("required"))
        spec["requestBody"] = {
            "required": needed,
            "content": {"application/json": {"schema": schema_of[id(operation.body)]}},
        }
    return spec


def _path_parameters(operation: Operation) -> list[Schema]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_HELP[name],
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": limits.run_id_chars_max if name == "run_id" else limits.name_chars_max,
            },
        }
        for name in _PATH_PARTS.findall(operation.path)
    ]


def _query_parameters(operation: Operation, components: dict[str, Schema]) -> list[Schema]:
    if operation.query is Nothing:
        return []
    shape = components[operation.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in shape.get("required", ()), "schema": _told(schema)}
        for name, schema in shape["properties"].items()
    ]


def _told(schema: Schema) -> Schema:
    """A parameter is there or not: it is never null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name not in {"anyOf", "default"}}}


def _header_parameters(operation: Operation) -> list[Schema]:
    def header(name: str, description: str, schema: Schema) -> Schema:
        return {"name": name, "in": "header", "description": description, "schema": schema}

    found = []
    if operation.media_type == "text/event-stream":
        told = "The number of the last event that the caller has; wins over `after_event_id`."
        found.append(header("Last-Event-ID", told, {"type": "integer", "minimum": 0}))
    if "ATTEMPT_SUPERSEDED" in operation.errors and operation.method == "POST":
        told = "The `lease_token` of a claim: a write of an attempt that is no longer current is refused."
        found.append(header("X-Lease-Token", told, {"type": "string"}))
    if operation.method in {"POST", "PATCH"}:
        told = "The same key with the same request gets the stored answer for 24 hours."
        chars = {"type": "string", "minLength": 1, "maxLength": limits.idempotency_key_chars_max}
        found.append(header("Idempotency-Key", told, chars))
    return found


def _responses(operation: Operation, schema_of: dict[int, Any]) -> Schema:
    content: Schema = {"schema": {"type": "string"}}
    if operation.answer is not None:
        content = {"schema": schema_of[id(operation.answer)]}
    elif operation.media_type == "application/json":
        content = {"schema": {"type": "object"}}
    good: Schema = {"description": operation.summary, "content": {operation.media_type: content}}
    if operation.path in {"/runs", "/runs/{run_id}/retry", "/conversations", "/projects"} and (
        operation.method == "POST"
    ):
        good["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Where it can be read."}}
    responses: Schema = {str(operation.status): good}
    by_status: dict[int, list[str]] = {}
    for code in codes_of(operation):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, codes in sorted(by_status.items()):
        told = " ".join(f"`{code}`: {CODES[code]}" for code in codes)
        response: Schema = {
            "description": f"{HTTPStatus(status).phrase}. {told}",
            "content": {"application/problem+json": {"schema": schema_of[id(Problem)]}},
        }
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
        responses[str(status)] = response
    return responses
