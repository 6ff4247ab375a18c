"""The OpenAPI 3.1 document, generated from the types that decode requests and encode answers."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from runstead import __version__
from runstead.core import limits
from runstead.core.errors import CODES
from runstead.core.runs.artifact import ANY_TYPE
from runstead.core.runs.event import TERMINAL_TYPES
from runstead.http.create_bodies import REQUESTS
from runstead.http.framework.endpoint import Nothing, Operation
from runstead.http.framework.problems import STATUS, Problem
from runstead.http.framework.values import NO_CONTROLS, NO_NUL
from runstead.http.messages import PART, AddMessage
from runstead.http.openapi import rules
from runstead.http.openapi.examples import EXAMPLES
from runstead.http.openapi.links import add_links
from runstead.http.openapi.names import name_shapes, operation_id
from runstead.http.records import IF_MATCH
from runstead.http.runs import Artifact, CompleteRun, UsageMetadata
from runstead.http.triggers import FORM

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_PATH_PARAMETERS: Final = re.compile(r"{(\w+)}")

#: Repeated in every operation, since some client generators read it only there.
_SECURITY: Final[list[Schema]] = [{"bearer": []}, {"api_key": []}]

#: The schema of one event of a stream, as OpenAPI 3.1 readers expect. It has no `properties`, since generated
#: clients read the whole stream as one text, and `properties` would make that text an object.
_STREAM: Final[Schema] = {
    "description": "Events as server-sent events, until the terminal one. Comments keep the connection open.",
    "required": ["id", "event", "data"],
    "patternProperties": {
        "^id$": {"type": "string", "minLength": 1},
        "^event$": {"type": "string", "minLength": 1},
        "^data$": {"type": "string", "contentMediaType": "application/json"},
    },
}

#: Error codes that routes have in addition to their own codes.
_WITH_CREDENTIAL: Final = (
    "INVALID_REQUEST",
    "UNAUTHENTICATED",
    "AUTHENTICATION_THROTTLED",
    "FORBIDDEN",
    "PROJECT_BUSY",
    "RATE_LIMITED",
    "STORE_BUSY",
)
_WITH_READ: Final = ("QUERY_TOO_SLOW",)
_WITH_PATH: Final = ("INVALID_REQUEST", "NOT_FOUND")
_WITH_BODY: Final = ("BODY_TOO_LARGE",)
_WITH_KEY: Final = ("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_KEY_IN_USE")

#: Tags, in the order of the document.
_TAGS: Final = (
    "Runs",
    "Artifacts",
    "Events",
    "Conversations",
    "Messages",
    "Input requests",
    "Workers",
    "Schedules",
    "Webhooks",
    "Triggers",
    "Alerts",
    "Budgets",
    "Batches",
    "Bulk jobs",
    "Concurrency",
    "Usage",
    "Notifications",
    "Push services",
    "Families",
    "Lists",
    "Administration",
    "Health",
    "Documentation",
)

#: The route with a body of any type.
_ANY_BODY: Final = "/triggers/{token}"

#: Of the parameters of paths. `webhook_id` and others like it are described by their names.
_PATH_DESCRIPTIONS: Final = {
    "run_id": "The run's public id.",
    "name": "The artifact's name.",
    "project": "A project's id or slug.",
    "event_id": "The event's number in its run.",
    "job_id": "The id of a bulk job.",
    "service_id": "The push service's id.",
    "trigger_id": "The trigger's id (not its token).",
    "target": "A target, such as `task:render`, or `project` for all runs of the project.",
    "alert_id": "The alert rule's id.",
    "token": "The trigger's token.",
    "child_run_id": "The child's public id.",
    "key_id": "The key's id (not the key).",
}


def codes_of(operation: Operation) -> tuple[str, ...]:
    """Return all error codes that the operation documents."""
    codes = list(operation.errors)
    if not operation.open:
        codes += _WITH_CREDENTIAL
        if operation.method == "GET":
            codes += _WITH_READ
    if _PATH_PARAMETERS.search(operation.path):
        codes += _WITH_PATH
    if operation.method != "GET" and not operation.streamed:
        codes += _WITH_BODY
    if operation.keyed:
        codes += _WITH_KEY
    return tuple(sorted({*codes, "INTERNAL"}))


def document(operations: Sequence[Operation]) -> Schema:
    """Generate the document of these operations."""
    shapes: list[Any] = [Problem, UsageMetadata, Artifact, *REQUESTS.values()]
    shapes += [o.body for o in operations if o.body is not Nothing]
    shapes += [o.answer for o in operations if o.answer is not None]
    shapes += [o.query for o in operations if o.query is not Nothing]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    schema_of = dict(zip(map(id, shapes), schemas, strict=True))
    _refuse_nul(components, [*REQUESTS.values(), *(shape for o in operations for shape in (o.body, o.query))])
    _describe_values(components)
    rules.describe_creations(components)
    rules.describe_batches(components)
    rules.describe_targets(
        components, [operation.body for operation in operations if operation.method == "POST"]
    )
    rules.describe_rules(components)
    paths: dict[str, Schema] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation, schema_of, components)
    for shape in {o.query for o in operations if o.query is not Nothing}:
        del components[shape.__name__]  # listed as parameters
    result: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "Runstead",
            "version": __version__,
            "summary": "A self-hosted control plane for durable runs",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": _SECURITY,
        "tags": [{"name": tag} for tag in _TAGS],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A JWT, an API key (`vf_<prefix>_<secret>`) or a worker token.",
                },
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    name_shapes(result)
    add_links(result)
    return result


def _refuse_nul(components: dict[str, Schema], shapes: Iterable[Any]) -> None:
    """Add the pattern of texts without NUL to every text that requests may have. See `framework/body.py`."""
    names = [shape.__name__ for shape in shapes if shape is not Nothing]
    done: set[str] = set()

    def visit(schema: Any) -> None:
        if isinstance(schema, list):
            for one in schema:
                visit(one)
        elif isinstance(schema, dict):
            names.append(str(schema.get("$ref", "")).rpartition("/")[2])
            if schema.get("type") == "string" and _PLAIN_TEXT.isdisjoint(schema):
                schema["pattern"] = NO_NUL
            for one in schema.values():
                visit(one)

    while names:
        name = names.pop()
        if name in components and name not in done:
            done.add(name)
            visit(components[name])


#: With these, the schema of a text excludes NUL already.
_PLAIN_TEXT: Final = frozenset({"pattern", "format", "enum", "const"})


def _describe_values(components: dict[str, Schema]) -> None:
    """Add the schemas of values that are decoded as raw JSON and checked in a second step."""
    complete = components[CompleteRun.__name__]["properties"]
    complete["metadata"]["anyOf"] = [rules.reference(UsageMetadata.__name__), {"type": "null"}]
    complete["artifacts"]["anyOf"][0]["items"] = rules.reference(Artifact.__name__)
    complete["output"]["description"] = (
        f"An output over {limits.output_bytes_max >> 20} MiB fails the run with OUTPUT_TOO_LARGE."
    )
    if AddMessage.__name__ in components:
        message = components[AddMessage.__name__]["properties"]
        message["role"] = {"type": "string", "const": "user", "default": "user"}
        message["parts"]["items"] = dict(PART)
    if "AppendEvents" in components:
        components["AppendEvents"]["properties"]["events"]["items"] = rules.reference("Event")
        components["Event"] = {
            "title": "Event",
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": limits.event_type_chars_max,
                    "pattern": NO_CONTROLS,
                    "not": {"enum": sorted(TERMINAL_TYPES)},
                    "description": "Any type except RUN_FINISHED and RUN_ERROR.",
                },
                "idempotency_key": {
                    "type": ["string", "null"],
                    "minLength": 1,
                    "maxLength": limits.idempotency_key_chars_max,
                    "pattern": NO_NUL,
                    "description": "Unique in the run: an event with a stored key is dropped.",
                },
            },
            "description": "An event: a flat object of less than 256 KiB of JSON.",
        }


def _operation(operation: Operation, schema_of: dict[int, Any], components: dict[str, Schema]) -> Schema:
    spec: Schema = {
        "operationId": operation_id(operation.tag, operation.handler.__name__),
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
    spec["security"] = [] if operation.open else _SECURITY
    if operation.body is not Nothing:
        needed = any(member.required for member in msgspec.structs.fields(operation.body))
        content: Schema = {"schema": schema_of[id(operation.body)]}
        if (examples := EXAMPLES.get(operation.body.__name__)) is not None:
            content["examples"] = {name: {"value": body} for name, body in examples.items()}
        spec["requestBody"] = {"required": needed, "content": {"application/json": content}}
    elif operation.streamed:
        spec["requestBody"] = {
            "required": False,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": {}},  # any media type is accepted
            },
        }
    elif operation.path == _ANY_BODY:
        spec["requestBody"] = {
            "required": False,
            "content": {"application/json": {"schema": {}}, FORM: {"schema": {"type": "object"}}},
        }
    return spec


def _path_parameters(operation: Operation) -> list[Schema]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_DESCRIPTIONS.get(
                name, f"The {name.removesuffix('_id').replace('_', ' ')}'s id."
            ),
            "schema": _path_parameter_schema(name),
        }
        for name in _PATH_PARAMETERS.findall(operation.path)
    ]


def _path_parameter_schema(name: str) -> Schema:
    if name == "event_id":
        return {"type": "integer", "minimum": 1, "maximum": limits.integer_max}
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": limits.run_id_chars_max if name == "run_id" else limits.name_chars_max,
        "pattern": NO_CONTROLS,
    }


def _query_parameters(operation: Operation, components: dict[str, Schema]) -> list[Schema]:
    if operation.query is Nothing:
        return []
    shape = components[operation.query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in shape.get("required", ()),
            "schema": _without_nul(_without_null(schema)),
        }
        for name, schema in shape["properties"].items()
    ]


def _without_nul(schema: Schema) -> Schema:
    """Add the pattern of text without the character NUL, which no parameter may have."""
    if "items" in schema:
        return {**schema, "items": _without_nul(schema["items"])}
    if schema.get("type") != "string" or schema.keys() & {"enum", "pattern", "format"}:
        return schema
    return {**schema, "pattern": NO_NUL}


def _without_null(schema: Schema) -> Schema:
    """Remove null from the schema of a query parameter, which cannot be null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name not in {"anyOf", "default"}}}


_CURRENT_TAGS: Final = "ETags that the caller has. If one of them is current, the answer is 304."
_NOT_MODIFIED: Final = {"description": "Not Modified. The caller's `If-None-Match` names the current ETag."}


def _header_parameters(operation: Operation) -> list[Schema]:
    found: list[Schema] = []

    def add(name: str, description: str, *, required: bool = False, **bounds: Any) -> None:
        header: Schema = {"name": name, "in": "header", "description": description}
        header |= {"schema": {"type": "string", **bounds}} | ({"required": True} if required else {})
        found.append(header)

    if operation.media_type == "text/event-stream":
        text = "The `id` of the last frame that the caller received. It takes precedence over the query."
        add("Last-Event-ID", text)
    if "ATTEMPT_SUPERSEDED" in operation.errors and operation.method != "GET":
        text = "The `lease_token` of a claim. Writes of an attempt that is not the current one are refused."
        add("X-Lease-Token", text)
    if "PRECONDITION_REQUIRED" in operation.errors:
        text = "The ETag of the run that the caller has read, or `*`."
        add("If-Match", text, required=True, pattern=IF_MATCH)
    if operation.tagged and operation.method == "GET":
        add("If-None-Match", _CURRENT_TAGS)
    if "RANGE_NOT_SATISFIABLE" in operation.errors:
        add("If-None-Match", _CURRENT_TAGS)
        text = "One range, such as `bytes=0-1023`, is answered with 206. Several ranges are answered with all bytes."
        add("Range", text)
    if operation.keyed:
        text = "A repeat of the request with the same key gets the stored answer, for 24 hours."
        add("Idempotency-Key", text, minLength=1, maxLength=limits.idempotency_key_chars_max)
    return found


def _responses(operation: Operation, schema_of: dict[int, Any]) -> Schema:
    content: Schema = {"schema": {"type": "string"}}
    if operation.media_type == "text/event-stream":
        content = {"schema": _STREAM}
    elif operation.answer is not None:
        content = {"schema": schema_of[id(operation.answer)]}
    elif operation.media_type == "application/json":
        content = {"schema": {"type": "object"}}
    success: Schema = {"description": operation.summary, "content": {operation.media_type: content}}
    if operation.media_type == ANY_TYPE:  # or the media type with which the bytes were stored
        success["content"]["*/*"] = {"schema": {}}
    responses: Schema = {str(operation.status): success}

    def add(name: str, description: str, **bounds: str) -> None:
        headers = success.setdefault("headers", {})
        headers[name] = {"schema": {"type": "string", **bounds}, "description": description}

    if operation.location is not None:
        add("Location", "The path of the created object.")
    if operation.warns:
        text = "`config_differs` or `input_differs`, if a value of a repeated request was dropped."
        add("Runstead-Warning", text)
    if operation.keyed:
        text = "`true` if the answer was stored by an earlier request with the Idempotency-Key."
        add("Idempotent-Replayed", text, const="true")
    if operation.tagged:
        text = "A strong tag: the member `etag`, with `-gzip` at its end if the answer is compressed."
        add("ETag", text)
        if operation.method == "GET":
            responses["304"] = _NOT_MODIFIED
    if "RANGE_NOT_SATISFIABLE" in operation.errors:
        add("ETag", "The sha256 of the bytes.")
        responses |= {
            "206": {"description": "Partial Content.", "content": success["content"]},
            "304": _NOT_MODIFIED,
        }
    by_status: dict[int, list[str]] = {}
    for code in codes_of(operation):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, codes in sorted(by_status.items()):
        listed = " ".join(f"`{code}`: {CODES[code]}" for code in codes)
        response: Schema = {
            "description": f"{HTTPStatus(status).phrase}. {listed}",
            "content": {"application/problem+json": {"schema": schema_of[id(Problem)]}},
        }
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
        if status == HTTPStatus.UNAUTHORIZED:
            response["headers"] = {
                "WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer."}
            }
        responses[str(status)] = response
    return responses
