"""Input requests: `/conversations/{conversation_id}/input-requests`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from runstead.commands import inputs as commands
from runstead.commands.inputs import Asking, asked
from runstead.core import limits
from runstead.core.clock import iso, iso_or_none
from runstead.core.conversations import form
from runstead.core.conversations.input_request import InputRequest, InputStatus, ResponderType
from runstead.http.conversations import NumberedPage
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import (
    NO_CONTROLS,
    NO_NUL,
    JsonObject,
    Moment,
    PageInfo,
    Positive,
    RunId,
    bounded,
    json_object,
    moment_ms,
)
from runstead.http.run_view import NULL, JsonObjectOrNull, Timestamp, raw
from runstead.http.runs import fence
from runstead.ports.store import Written

routes = Routes("Input requests")

_WRITE = ("NOT_FOUND", "INPUT_REQUEST_NOT_OPEN", "EVENT_LOG_FULL", "STORE_BUSY", "STORE_UNAVAILABLE")


class CreateInputRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A form that somebody fills in. At `expires_at` the run fails (WAIT_EXPIRED)."""

    run_id: RunId
    tool_call_id: Annotated[
        str, Meta(min_length=1, max_length=limits.tool_call_id_chars_max, pattern=NO_CONTROLS)
    ]
    kind: Literal["form"]
    requested_responder_type: ResponderType
    title: Annotated[str, Meta(max_length=limits.input_title_chars_max, pattern=NO_NUL)]
    description: (
        Annotated[str, Meta(max_length=limits.input_description_chars_max, pattern=NO_NUL)] | None
    ) = None
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
    """What was filled in. The value of a secret field is null; `withheld` names those that came with one."""

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


def response_view(request: InputRequest) -> InputResponseView | None:
    given = request.response
    if given is None:
        return None
    return InputResponseView(
        given.id,
        request.id,
        request.conversation_id,
        request.run_id,
        given.actor_type,
        given.actor_id,
        msgspec.Raw(given.values),
        iso(given.created_at),
        msgspec.Raw(given.withheld),
    )


def view(request: InputRequest) -> InputRequestView:
    def ended(status: InputStatus) -> str | None:
        return iso_or_none(request.ended_at) if request.status == status else None

    return InputRequestView(
        request.id,
        request.conversation_id,
        request.run_id,
        request.tool_call_id,
        "form",
        request.status,
        request.requested_responder_type,
        request.title,
        request.description,
        msgspec.Raw(request.fields),
        NULL,
        raw(request.metadata),
        iso(request.created_at),
        iso_or_none(request.expires_at),
        ended("submitted"),
        ended("cancelled"),
        ended("expired"),
        response_view(request),
    )


def _created(written: Written) -> Reply:
    request = asked(written)
    where = f"/conversations/{request.conversation_id}/input-requests/{request.id}"
    return Reply(201, view(request), {"Location": where})


def _answer(status: int, written: Written) -> Reply:
    return Reply(status, view(asked(written)))


@routes.route(
    "POST",
    "/conversations/{conversation_id}/input-requests",
    body=CreateInputRequest,
    answer=InputRequestView,
    status=201,
    errors=(
        "NOT_FOUND",
        "RUN_NOT_ACTIVE",
        "RUN_ALREADY_WAITING",
        "TOOL_RESULT_CONFLICT",
        "ATTEMPT_SUPERSEDED",
        "STORE_BUSY",
        "STORE_UNAVAILABLE",
    ),
)
async def create(call: Call[CreateInputRequest, Nothing]) -> Reply:
    """Ask for a form to be filled in: the run waits (reason input) until it is. A repeat finds the request."""
    body, most = call.body, limits.input_request_bytes_max
    asking = Asking(
        run_id=body.run_id,
        tool_call_id=body.tool_call_id,
        requested_responder_type=body.requested_responder_type,
        title=body.title,
        description=body.description,
        fields=bounded("fields", form.check_fields(body.fields), most),
        expires_at=moment_ms("expires_at", body.expires_at),
        metadata=bounded("metadata", json_object(body.metadata), most),
    )
    proof = fence(call, body.attempt)
    return await call.idempotent(
        lambda idempotency: commands.create(
            call.app, call.principal, call.path["conversation_id"], asking, proof, idempotency
        ),
        _created,
    )


class InputRequestFilter(NumberedPage, frozen=True, kw_only=True):
    status: InputStatus | None = None


class InputRequestPage(msgspec.Struct, frozen=True):
    data: list[InputRequestView]
    page_info: PageInfo


@routes.route(
    "GET",
    "/conversations/{conversation_id}/input-requests",
    query=InputRequestFilter,
    answer=InputRequestPage,
    errors=("NOT_FOUND",),
)
async def page(call: Call[Nothing, InputRequestFilter]) -> Reply:
    """A conversation's input requests, newest first."""
    query = call.query
    found = await commands.page(
        call.app, call.principal, call.path["conversation_id"], query.status, query.cursor, query.limit + 1
    )
    data = found[: query.limit]
    following = data[-1].seq if len(found) > query.limit else None
    return Reply(200, InputRequestPage([view(one) for one in data], query.info(following)))


def _named(call: Call[Any, Any]) -> tuple[str, str]:
    return call.path["conversation_id"], call.path["input_request_id"]


@routes.route(
    "GET",
    "/conversations/{conversation_id}/input-requests/{input_request_id}",
    answer=InputRequestView,
    errors=("NOT_FOUND",),
)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """One input request with its latest response."""
    return Reply(200, view(await commands.get(call.app, call.principal, *_named(call))))


class RespondToInput(msgspec.Struct, frozen=True, kw_only=True):
    """Field name → value. A number may come as text; null and the empty text mean that nothing was filled in."""

    values: Annotated[dict[str, form.Value], Meta(max_length=limits.input_fields_max)]


@routes.route(
    "POST",
    "/conversations/{conversation_id}/input-requests/{input_request_id}/responses",
    body=RespondToInput,
    answer=InputRequestView,
    status=201,
    errors=_WRITE,
)
async def respond(call: Call[RespondToInput, Nothing]) -> Reply:
    """Answer an input request: the run resumes. The same values again find the response that is there."""
    values = call.body.values
    bounded("values", call.raw, limits.input_response_bytes_max)
    return await call.idempotent(
        lambda idempotency: commands.respond(call.app, call.principal, *_named(call), values, idempotency),
        lambda written: _answer(201, written),
    )


@routes.route(
    "POST",
    "/conversations/{conversation_id}/input-requests/{input_request_id}/cancel",
    answer=InputRequestView,
    errors=_WRITE,
)
async def cancel(call: Call[Nothing, Nothing]) -> Reply:
    """Take an input request back: the run resumes with an error for a result."""
    return await call.idempotent(
        lambda idempotency: commands.cancel(call.app, call.principal, *_named(call), idempotency),
        lambda written: _answer(200, written),
    )
