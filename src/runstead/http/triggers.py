"""Triggers: `/projects/{project}/triggers…`, and `/triggers/{token}`, which external systems call."""

from typing import Annotated, Final
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from runstead.commands import triggers as commands
from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.schedules.trigger import Trigger, TriggerEvent, new_token
from runstead.http.answers import answer_of, list_of
from runstead.http.arguments import from_body, named, scoped
from runstead.http.bounds import text
from runstead.http.flow_bodies import DebounceBody, FlowKey, UniqueBody, bodies_of, flow_of
from runstead.http.framework import values
from runstead.http.framework.body import decode_body
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import CursorQuery, listed, position_by_time
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import JsonObject as Object, Name, Uuid
from runstead.http.framework.views import JsonObjectOrNull, Timestamp, view_of
from runstead.ports.store import Written

routes = Routes("Triggers")

_TRIGGERS = "/projects/{project}/triggers"
_TRIGGER = _TRIGGERS + "/{trigger_id}"

FORM: Final = "application/x-www-form-urlencoded"
_fields_max: Final = 1_000
_Target = Annotated[
    str,
    text(
        limits.target_chars_max,
        "`task:<id>`, `workflow:<id>`, `eval:<id>` or `agent:<id>`.",
        pattern=values.ANY_TARGET,
    ),
]


class CreateTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger to create: each call starts a run of `target`. `config` is passed to every run.

    With a `secret`, calls must be signed: as Standard Webhooks if it begins with `whsec_`, else as GitHub
    signs (`X-Hub-Signature-256`). An agent's runs join the conversation `conversation_id`; without one, each
    gets a new one. Each `event` of the project's bus whose data matches starts a run too, with the data as its input.
    """

    target: _Target
    name: Name | None = None
    config: Object | None = None
    secret: Annotated[str, Meta(min_length=16, max_length=255, pattern=values.NO_CONTROLS)] | None = None
    conversation_id: Uuid | None = None
    concurrency_key: FlowKey | None = None
    unique: UniqueBody | None = None
    debounce: DebounceBody | None = None
    event: TriggerEvent | None = None


class UpdateTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """Members that are left out or null are not changed."""

    name: Name | None = None
    enabled: bool | None = None
    event: TriggerEvent | None = None


class TriggerEventView(msgspec.Struct, frozen=True):
    """Events of the bus that start runs: by their name, and by values in their data at dotted paths."""

    name: str
    match: JsonObjectOrNull


class TriggerView(msgspec.Struct, frozen=True):
    """A trigger. `signed` is true if its calls must be signed. The flow control of its runs is present if it has any.
    Runs start by `event` too, if there is one.
    """

    id: str
    project_id: str
    name: str
    target: str
    config: JsonObjectOrNull
    enabled: bool
    disabled_at: Timestamp | None
    signed: bool
    conversation_id: str | None
    event: TriggerEventView | None
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp
    concurrency_key: str | msgspec.UnsetType = msgspec.UNSET
    unique: UniqueBody | msgspec.UnsetType = msgspec.UNSET
    debounce: DebounceBody | msgspec.UnsetType = msgspec.UNSET


TriggerAnswer = answer_of("TriggerAnswer", trigger=TriggerView)
TriggerList = list_of("TriggerList", TriggerView, "triggers")
TriggerDeleted = answer_of("TriggerDeleted", deleted=bool)


class CreatedTrigger(msgspec.Struct, frozen=True):
    """`token` is shown once, and is null in a replay under an Idempotency-Key."""

    trigger: TriggerView
    token: str | None


def view(trigger: Trigger) -> TriggerView:
    event = None
    if trigger.event_name is not None:
        event = TriggerEventView(trigger.event_name, msgspec.Raw(trigger.event_match or b"null"))
    return view_of(
        TriggerView,
        trigger,
        enabled=trigger.disabled_at is None,
        signed=trigger.secret is not None,
        **bodies_of(trigger.flow_control),
        event=event,
    )


def new_trigger(body: CreateTrigger, token: str) -> commands.NewTrigger:
    return from_body(
        commands.NewTrigger,
        body,
        token=token,
        config=values.bounded("config", values.json_object(body.config), limits.trigger_config_bytes_max),
        conversation_id=None if body.conversation_id is None else body.conversation_id.lower(),
        flow=flow_of(body.unique, body.debounce, body.concurrency_key),
    )


@routes.route(
    "POST",
    _TRIGGERS,
    body=CreateTrigger,
    answer=CreatedTrigger,
    status=201,
    errors=(*CHANGE, "TRIGGER_LIMIT_REACHED", "ENCRYPTION_KEY_MISSING"),
    location="/projects/{trigger.project_id}/triggers/{trigger.id}",
)
async def create(call: Call[CreateTrigger, Nothing]) -> Reply:
    """Create a trigger. Its token is shown only in this answer."""
    token = new_token()
    new = new_trigger(call.body, token)
    return await call.idempotent(
        lambda record: commands.create(*scoped(call), new, record),
        lambda trigger: Reply(201, CreatedTrigger(view(trigger), token)),
        token,
    )


@routes.route("GET", _TRIGGERS, query=CursorQuery, answer=TriggerList, errors=LOOKUP)
async def page(call: Call[Nothing, CursorQuery]) -> Reply:
    """List the project's triggers, oldest first."""
    cursor = call.query.cursor
    after = position_by_time(cursor)
    found = await commands.page(*scoped(call), after)
    return Reply(200, listed(found, view, lambda one: (one.created_at, one.id), cursor))


@routes.route("GET", _TRIGGER, answer=TriggerView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a trigger."""
    return Reply(200, view(await commands.get(*named(call))))


@routes.route("PATCH", _TRIGGER, body=UpdateTrigger, answer=TriggerAnswer, errors=CHANGE)
async def change(call: Call[UpdateTrigger, Nothing]) -> Reply:
    """Rename, enable or disable a trigger, or let other events start its runs."""
    members = msgspec.structs.asdict(call.body)
    return await call.idempotent(
        lambda record: commands.change(*named(call), **members, idempotency=record),
        lambda trigger: Reply(200, TriggerAnswer(view(trigger))),
    )


@routes.route("DELETE", _TRIGGER, answer=TriggerDeleted, errors=CHANGE)
async def delete(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a trigger. Its runs stay."""
    await commands.delete(*named(call))
    return Reply(200, TriggerDeleted(deleted=True))


@routes.route("POST", _TRIGGER + "/rotate", answer=CreatedTrigger, errors=CHANGE)
async def rotate(call: Call[Nothing, Nothing]) -> Reply:
    """Replace a trigger's token. The old token is refused at once."""
    token = new_token()
    return await call.idempotent(
        lambda record: commands.change(*named(call), token=token, idempotency=record),
        lambda trigger: Reply(200, CreatedTrigger(view(trigger), token)),
        token,
    )


class Started(msgspec.Struct, frozen=True, omit_defaults=True):
    """`duplicate` is true if the call was a repeat; then the run is that of the first call."""

    run_id: str
    duplicate: bool = False


@routes.route(
    "POST",
    "/triggers/{token}",
    answer=Started,
    status=202,
    errors=(
        "UNAUTHENTICATED",
        "AUTHENTICATION_THROTTLED",
        "IDEMPOTENCY_KEY_REUSED",
        "REQUEST_SNAPSHOT_TOO_LARGE",
        "ENCRYPTION_KEY_MISSING",
        "STORE_BUSY",
        "STORE_UNAVAILABLE",
    ),
    open=True,
    keyed=False,  # the command reads the key, also from other headers
    body_bytes_max=limits.trigger_body_bytes_max,
    location="/runs/{run_id}",
    new_work=True,
)
async def fire(call: Call[Nothing, Nothing]) -> Reply:
    """Start a run of the trigger's target.

    The body (JSON or a form) is its input, or a message for an agent.
    """
    kind = (call.header(b"content-type") or "").partition(";")[0].strip().lower()

    def payload() -> bytes | None:
        if kind == FORM:
            return _form(call.raw)
        return values.json_value(decode_body(call.raw, msgspec.Raw)) if call.raw else None

    request = commands.TriggerRequest(
        token=call.path["token"], raw=call.raw, header=call.header, payload=payload
    )
    with call.look_up("trigger", request.token):
        written: Written = await commands.fire(call.app, request)
    return Reply(202, Started(written.run.run_id, written.transition.duplicate))


def _form(text: bytes) -> bytes:
    """Convert a form into a JSON object. A repeated field becomes a list. Raises INVALID_REQUEST."""
    try:
        fields = parse_qs(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=_fields_max)
    except ValueError:
        message = f"The body is not a URL-encoded form in UTF-8 with at most {_fields_max:,} fields"
        raise invalid_at("$", "not a form", message) from None
    return msgspec.json.encode(
        {name: found if len(found) > 1 else found[0] for name, found in fields.items()}
    )
