"""Input requests: `/conversations/{conversation_id}/input-requests`."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from runstead.commands import inputs as commands
from runstead.commands.app import App
from runstead.commands.inputs import NewInputRequest, input_request_of
from runstead.core import limits
from runstead.core.clock import iso_or_none
from runstead.core.conversations import form
from runstead.core.conversations.input_request import InputRequest, InputStatus, ResponderType
from runstead.http.answers import page_of
from runstead.http.arguments import from_body, named, on_run, scoped
from runstead.http.bounds import line, text
from runstead.http.conversations import NumberedPage, numbered
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import (
    JsonObject,
    Moment,
    Positive,
    RunId,
    bounded,
    json_object,
    moment_ms,
)
from runstead.http.framework.views import NULL, JsonObjectOrNull, Timestamp, view_of
from runstead.http.runs import WRITE, InProject, fence
from runstead.ports.store import Written

routes = Routes("Input requests")

_REQUESTS = "/conversations/{conversation_id}/input-requests"
_REQUEST = _REQUESTS + "/{input_request_id}"

_WRITE = (*CHANGE, "INPUT_REQUEST_NOT_OPEN", "EVENT_LOG_FULL")


class CreateInputRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A form for a person or a service to fill in. At `expires_at` the run fails (WAIT_EXPIRED)."""

    run_id: RunId
    tool_call_id: Annotated[str, line(limits.tool_call_id_chars_max)]
    kind: Literal["form"]
    requested_responder_type: ResponderType
    title: Annotated[str, text(limits.input_title_chars_max)]
    description: Annotated[str, text(limits.input_description_chars_max)] | None = None
    fields: Annotated[list[form.FormField], Meta(min_length=1, max_length=limits.input_fields_max)]
    expires_at: Moment | None = None
    metadata: JsonObject | None = None
    attempt: Positive | None = None


_Fields = Annotated[
    msgspec.Raw,
    Meta(extra_json_schema={"type": "array", "items": {"$ref": "#/components/schemas/FormField"}}),
]
_Values = Annotated[
    msgspec.Raw,
    Meta(
        extra_json_schema={
            "type": "object",
            "additionalProperties": {"type": ["string", "boolean", "number", "null"]},
        }
    ),
]
_Names = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array", "items": {"type": "string"}})]


class InputResponseView(msgspec.Struct, frozen=True):
    """A response. Values of secret fields are null; `withheld` lists the secret fields that had a value."""

    id: str
    input_request_id: str
    conversation_id: str
    run_id: str
    actor_type: str
    actor_id: str
    values: _Values
    created_at: Timestamp
    withheld: _Names


class InputRequestView(msgspec.Struct, frozen=True):
    """`keeps_secrets`: values of secret fields are stored encrypted until the run ends. False: they are dropped."""

    id: str
    conversation_id: str
    run_id: str
    tool_call_id: str
    kind: Literal["form"]
    status: InputStatus
    requested_responder_type: ResponderType
    title: str
    description: str | None
    fields: _Fields
    recommendations: JsonObjectOrNull
    metadata: JsonObjectOrNull
    created_at: Timestamp
    expires_at: Timestamp | None
    submitted_at: Timestamp | None
    cancelled_at: Timestamp | None
    expired_at: Timestamp | None
    latest_response: InputResponseView | None
    keeps_secrets: bool


def response_view(request: InputRequest) -> InputResponseView | None:
    response = request.response
    if response is None:
        return None
    return view_of(
        InputResponseView,
        response,
        input_request_id=request.id,
        conversation_id=request.conversation_id,
        run_id=request.run_id,
    )


def view(request: InputRequest, app: App) -> InputRequestView:
    def ended(status: InputStatus) -> str | None:
        return iso_or_none(request.ended_at) if request.status == status else None

    return view_of(
        InputRequestView,
        request,
        kind="form",
        recommendations=NULL,
        submitted_at=ended("submitted"),
        cancelled_at=ended("cancelled"),
        expired_at=ended("expired"),
        latest_response=response_view(request),
        keeps_secrets=app.secrets.current is not None,
    )


def _answer(status: int, call: Call[Any, Any]) -> Callable[[Written], Reply]:
    return lambda written: Reply(status, view(input_request_of(written), call.app))


@routes.route(
    "POST",
    _REQUESTS,
    body=CreateInputRequest,
    answer=InputRequestView,
    status=201,
    errors=(
        *CHANGE,
        "RUN_NOT_ACTIVE",
        "RUN_ALREADY_WAITING",
        "TOOL_RESULT_CONFLICT",
        "ATTEMPT_SUPERSEDED",
        "ATTEMPT_REQUIRED",
    ),
    location="/conversations/{conversation_id}/input-requests/{id}",
)
async def create(call: Call[CreateInputRequest, Nothing]) -> Reply:
    """Open an input request: the run waits (reason input) until a response.

    A repeat returns the same request.
    """
    body, most = call.body, limits.input_request_bytes_max
    new = from_body(
        NewInputRequest,
        body,
        fields=bounded("fields", form.check_fields(body.fields), most),
        expires_at=moment_ms("expires_at", body.expires_at),
        metadata=bounded("metadata", json_object(body.metadata), most),
    )
    proof = fence(call, body.attempt)
    return await call.idempotent(
        lambda record: commands.create(*scoped(call), new, proof, record), _answer(201, call)
    )


class InputRequestFilter(NumberedPage, frozen=True, kw_only=True):
    status: InputStatus | None = None


InputRequestPage = page_of("InputRequestPage", InputRequestView)


@routes.route("GET", _REQUESTS, query=InputRequestFilter, answer=InputRequestPage, errors=LOOKUP)
async def page(call: Call[Nothing, InputRequestFilter]) -> Reply:
    """List a conversation's input requests, newest first."""
    query = call.query
    found = await commands.page(*scoped(call), query.status, query.cursor, query.limit)
    return numbered(query, fitted(found, lambda one: view(one, call.app)))


@routes.route("GET", _REQUEST, answer=InputRequestView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get an input request with its latest response."""
    return Reply(200, view(await commands.get(*named(call)), call.app))


class RespondToInput(msgspec.Struct, frozen=True, kw_only=True):
    """Field name → value. A number may be sent as text. Null and the empty text mean no value."""

    values: Annotated[dict[str, form.Value], Meta(max_length=limits.input_fields_max)]


@routes.route(
    "POST", _REQUEST + "/responses", body=RespondToInput, answer=InputRequestView, status=201, errors=_WRITE
)
async def respond(call: Call[RespondToInput, Nothing]) -> Reply:
    """Respond to an input request: the run resumes.

    A repeat with the same values returns the same response.
    """
    values = call.body.values
    bounded("values", call.raw, limits.input_response_bytes_max)
    return await call.idempotent(
        lambda record: commands.respond(*named(call), values, record), _answer(201, call)
    )


@routes.route("POST", _REQUEST + "/cancel", answer=InputRequestView, errors=_WRITE)
async def cancel(call: Call[Nothing, Nothing]) -> Reply:
    """Cancel an input request: the run resumes with an error as the result."""
    return await call.idempotent(lambda record: commands.cancel(*named(call), record), _answer(200, call))


class SecretValues(msgspec.Struct, frozen=True):
    """Name → value of the secret fields that had one."""

    values: dict[str, form.Value]


@routes.route(
    "POST",
    "/runs/{run_id}/input-requests/{input_request_id}/secrets",
    query=InProject,
    answer=SecretValues,
    keyed=False,
    errors=(*WRITE, "RUN_NOT_ACTIVE", "SECRETS_NOT_KEPT", "ENCRYPTION_KEY_MISSING"),
)
async def secrets(call: Call[Nothing, InProject]) -> Reply:
    """Read the values of secret fields, with the token of the run's lease in `X-Lease-Token`.

    The attempt that holds the lease reads them as often as it needs; they are erased when the run ends.
    """
    request_id = call.path["input_request_id"]
    call.has_secret = True
    values = await commands.read_secrets(*on_run(call), request_id, fence(call))
    return Reply(200, SecretValues(values), {"Cache-Control": "no-store"})
