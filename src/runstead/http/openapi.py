"""The OpenAPI 3.1 document, from the same types that decode requests and encode answers."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from runstead import __version__
from runstead.errors import CODES
from runstead.http.create_bodies import REQUESTS, CreateRun
from runstead.http.endpoint import Nothing, Operation
from runstead.http.problems import STATUS, Problem

_REF: Final = "#/components/schemas/{name}"
_PATH_PARTS: Final = re.compile(r"{(\w+)}")

#: What any route that reads a credential or a body may answer, beside its own codes.
_WITH_CREDENTIAL: Final = ("INVALID_REQUEST", "UNAUTHENTICATED", "FORBIDDEN")
_WITH_BODY: Final = ("BODY_TOO_LARGE",)
_WITH_KEY: Final = ("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_KEY_IN_USE")

_PATH_HELP: Final = {
    "run_id": "The run's public id.",
    "project": "A project's id or slug.",
    "conversation_id": "The conversation's id.",
    "worker_id": "The worker's id.",
    "key_id": "The key's id (not the key).",
    "user_id": "The user's id.",
}


def codes_of(operation: Operation) -> tuple[str, ...]:
    """Every error code that the operation documents."""
    codes = list(operation.errors)
    if not operation.open:
        codes += _WITH_CREDENTIAL
    if operation.method != "GET":
        codes += _WITH_BODY
    if operation.method in {"POST", "PATCH"}:
        codes += _WITH_KEY
    return tuple(sorted({*codes, "INTERNAL"}))


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    shapes: list[Any] = [Problem, *REQUESTS.values()]
    shapes += [o.body for o in operations if o.body is not Nothing]
    shapes += [o.answer for o in operations if o.answer is not None]
    shapes += [o.query for o in operations if o.query is not Nothing]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    schema_of = dict(zip(map(id, shapes), schemas, strict=True))
    _describe_requests(components)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation, schema_of, components)
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


def _describe_requests(components: dict[str, Any]) -> None:
    """`request` is passed through and decoded by kind: say so where the type alone cannot."""
    choices = [{"$ref": _REF.format(name=shape.__name__)} for shape in dict.fromkeys(REQUESTS.values())]
    components[CreateRun.__name__]["properties"]["request"] = {
        "anyOf": choices,
        "type": "object",
        "description": "AgentRequest, WorkflowRequest or TaskRequest (tasks and evals), by `kind`.",
    }
    if "AppendEvents" in components:
        components["AppendEvents"]["properties"]["events"]["items"] = {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"type": "string", "minLength": 1}},
            "description": "An event: a flat object, less than 256 KiB as JSON.",
        }


def _operation(operation: Operation, schema_of: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "operationId": f"{operation.tag.lower()}_{operation.handler.__name__}",
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, components)],
        "responses": _responses(operation, schema_of),
    }
    rest = (operation.handler.__doc__ or "").strip().partition("\n\n")[2]
    if rest:
        spec["description"] = " ".join(rest.split())
    if operation.open:
        spec["security"] = []
    if operation.method in {"POST", "PATCH"}:
        spec["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key with the same request gets the stored answer for 24 hours.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    if operation.body is not Nothing:
        needed = bool(components[operation.body.__name__].get("required"))
        spec["requestBody"] = {
            "required": needed,
            "content": {"application/json": {"schema": schema_of[id(operation.body)]}},
        }
    return spec


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_HELP[name],
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        }
        for name in _PATH_PARTS.findall(operation.path)
    ]


def _query_parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    if operation.query is Nothing:
        return []
    shape = components[operation.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in shape.get("required", ()), "schema": schema}
        for name, schema in shape["properties"].items()
    ]


def _responses(operation: Operation, schema_of: dict[int, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"type": "string"}}
    if operation.answer is not None:
        content = {"schema": schema_of[id(operation.answer)]}
    responses: dict[str, Any] = {
        str(operation.status): {"description": operation.summary, "content": {operation.media_type: content}}
    }
    by_status: dict[int, list[str]] = {}
    for code in codes_of(operation):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, codes in sorted(by_status.items()):
        told = " ".join(f"`{code}`: {CODES[code]}" for code in codes)
        response: dict[str, Any] = {
            "description": f"{HTTPStatus(status).phrase}. {told}",
            "content": {"application/problem+json": {"schema": schema_of[id(Problem)]}},
        }
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
        responses[str(status)] = response
    return responses
