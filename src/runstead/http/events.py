"""Append events to a run's log, under `/runs` and under its conversation."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from runstead.commands import events as commands
from runstead.commands.events import EventAppend
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.core.runs.append import TOO_LARGE, digest, refuse_terminal_types, source_of
from runstead.core.runs.event import (
    CUSTOM,
    EXTERNAL_SOURCES,
    PRIVATE_TYPES,
    TOOL_CALL_RESULT,
    NewEvent,
    Source,
    owner_of,
)
from runstead.core.runs.values import setting_of
from runstead.http.framework.body import invalid
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import NO_CONTROLS, NO_NUL, Count, Positive
from runstead.http.run_view import ProjectionView, RunView, projection, run_view
from runstead.http.runs import WRITE, InProject, fence, run_ref
from runstead.ports.store import Written

routes = Routes("Events")

_APPEND = (
    *WRITE,
    "EVENT_CURSOR_MISMATCH",
    "EVENT_RUN_TERMINAL",
    "EVENT_RUN_WAITING",
    "EVENT_TOO_LARGE",
    "EVENT_TYPE_REFUSED",
    "EVENT_RESERVED",
    "EVENT_LOG_FULL",
    "VALUES_FULL",
    "IDEMPOTENCY_KEY_REUSED",
)


class AppendEvents(msgspec.Struct, frozen=True, kw_only=True):
    """1 to 100 events, each a flat object with a string `type`.

    `expected_previous_event_id` and `expected_previous_external_event_sequence` are the end of the log as the
    caller knows it. An event whose `idempotency_key` is already stored in the run is dropped.
    """

    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=limits.events_per_append_max)]
    expected_previous_event_id: Count | None = None
    expected_previous_external_event_sequence: Count | None = None
    attempt: Positive | None = None


class Appended(msgspec.Struct, frozen=True):
    run: RunView
    latest_event_id: int
    appended_count: int
    latest_external_event_sequence: int | msgspec.UnsetType = msgspec.UNSET


class AppendedInConversation(msgspec.Struct, frozen=True):
    run: ProjectionView
    latest_event_id: int
    appended_count: int
    latest_external_event_sequence: int | msgspec.UnsetType = msgspec.UNSET


class _Head(msgspec.Struct, frozen=True):
    type: Annotated[str, Meta(min_length=1, max_length=limits.event_type_chars_max)]
    isError: Any = None  # noqa: N815 - the wire's name
    name: Any = None
    stepId: Any = None  # noqa: N815 - the wire's name
    idempotency_key: (
        Annotated[str, Meta(min_length=1, max_length=limits.idempotency_key_chars_max, pattern=NO_NUL)] | None
    ) = None


class _CheckedHead(_Head, frozen=True):
    type: Annotated[str, Meta(pattern=NO_CONTROLS)]


class _Heads(msgspec.Struct, frozen=True):
    events: list[_Head]


class _CheckedHeads(msgspec.Struct, frozen=True):
    events: list[_CheckedHead]


_heads = msgspec.json.Decoder(_Heads).decode


def _decode_heads(raw: bytes) -> tuple[list[_Head], set[str]]:
    """Return what of each event decides how it is stored, and the types of them all. `raw` is the body.

    Raises INVALID_REQUEST.
    """
    try:
        heads = _heads(raw).events
        types = {head.type for head in heads}
        # A pattern takes longer than all the rest, so it is matched only where it may not fit.
        if not all(map(str.isprintable, types)):
            msgspec.json.decode(raw, type=_CheckedHeads)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    return heads, types


def _new_events(
    raws: Sequence[msgspec.Raw], heads: Sequence[_Head], source: Source, *, one_line: bool
) -> tuple[NewEvent, ...]:
    """Convert events into their stored form, each on one line. `one_line`: the whole body has no line breaks.

    Raises INVALID_REQUEST, EVENT_TOO_LARGE.
    """
    events = []
    for index, (raw, head) in enumerate(zip(raws, heads, strict=True)):
        payload = bytes(raw)
        if not (one_line or _on_one_line(payload)):
            payload = msgspec.json.format(payload, indent=-1)
        owner = owner_of(head.type, head.name, head.stepId)
        try:
            sets = None if owner is None or head.type != CUSTOM else setting_of(head.name, payload)
        except msgspec.ValidationError as error:
            raise invalid(str(error), under=f"$.events[{index}]") from None
        private = head.type in PRIVATE_TYPES
        if len(payload) >= (limits.private_event_bytes_max if private else limits.event_bytes_max):
            raise Error("EVENT_TOO_LARGE", TOO_LARGE, errors=((f"$.events[{index}]", "too large"),))
        is_error = head.type == TOOL_CALL_RESULT and head.isError is True
        key = head.idempotency_key
        if owner is None and key is None and not private and not is_error:
            events.append(
                NewEvent(head.type, payload, source)
            )  # most events: a third of the cost of all members
            continue
        key_digest = None if key is None else digest(payload)
        events.append(
            NewEvent(
                type=head.type,
                payload=payload,
                source=source,
                private=private,
                is_error=is_error,
                owner=owner,
                key=key,
                digest=key_digest,
                sets=sets,
            )
        )
    return tuple(events)


def _on_one_line(text: bytes) -> bool:
    return b"\n" not in text and b"\r" not in text and b"\t" not in text


def event_append(body: AppendEvents, raw: bytes, source: Source = "caller") -> EventAppend:
    """Convert the body into a command. `raw` is the body as it was received."""
    heads, types = _decode_heads(raw)
    events = _new_events(body.events, heads, source, one_line=_on_one_line(raw))
    refuse_terminal_types(types)
    if body.expected_previous_event_id is None and not types.isdisjoint(PRIVATE_TYPES):
        raise invalid_at(
            "$.expected_previous_event_id", "missing", "Private events need expected_previous_event_id"
        )
    return EventAppend(
        events,
        expected_previous_event_id=body.expected_previous_event_id,
        expected_sequence=body.expected_previous_external_event_sequence,
    )


def _appended(written: Written, new: EventAppend, *, in_conversation: bool) -> Reply:
    run = written.run
    public = not all(event.private for event in new.events)
    return Reply(
        200,
        {
            "run": (projection if in_conversation else run_view)(run, sequence=public),
            "latest_event_id": run.latest_event_id,
            **({"latest_external_event_sequence": run.latest_external_event_sequence} if public else {}),
            # A budget that the events reach may end the run: its terminal event is the server's.
            "appended_count": sum([event.source in EXTERNAL_SOURCES for event in written.transition.events]),
        },
    )


async def _append(call: Call[AppendEvents, Any], ref: RunRef) -> Reply:
    proof = fence(call, call.body.attempt, call.principal.worker_id)
    new = event_append(call.body, call.raw, source_of(call.principal, proof))
    return await call.idempotent(
        lambda idempotency: commands.append(call.app, call.principal, ref, new, proof, idempotency),
        lambda written: _appended(written, new, in_conversation=ref.conversation_id is not None),
    )


@routes.route(
    "POST", "/runs/{run_id}/events", body=AppendEvents, query=InProject, answer=Appended, errors=_APPEND
)
async def append(call: Call[AppendEvents, InProject]) -> Reply:
    """Append events to a run's log, all or none. A repeat of stored events adds nothing."""
    return await _append(call, run_ref(call))


def conversation_run_ref(call: Call[Any, Any]) -> RunRef:
    return RunRef(call.path["run_id"], conversation_id=call.path["conversation_id"])


@routes.route(
    "POST",
    "/conversations/{conversation_id}/runs/{run_id}/events",
    body=AppendEvents,
    answer=AppendedInConversation,
    errors=_APPEND,
)
async def append_in_conversation(call: Call[AppendEvents, Nothing]) -> Reply:
    """Append events to an agent run's log, all or none. A repeat of stored events adds nothing."""
    return await _append(call, conversation_run_ref(call))
