"""The event bus: `POST /projects/{project}/events`."""

from typing import Any

import msgspec

from runstead.commands import bus_events as commands
from runstead.core.runs.signal import SignalName
from runstead.http.arguments import from_body, scoped
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import IdempotencyKey, Moment, moment_ms

routes = Routes("Events")


class PublishEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event: `data` is any JSON value, at most 256 KiB. For 24 hours a repeat of its `id` publishes nothing.

    An `Idempotency-Key` does the same for an event without an `id`.
    """

    name: SignalName
    data: Any = None
    id: IdempotencyKey | None = None
    occurred_at: Moment | None = None


class PublishedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many runs the event has resumed and started so far.

    `pending`: other runs follow, without another request. `duplicate`: the event was published before.
    """

    event_id: str
    resumed: int
    started: int
    duplicate: bool = False
    pending: bool = False


@routes.route(
    "POST",
    "/projects/{project}/events",
    body=PublishEvent,
    answer=PublishedEvent,
    status=202,
    errors=("NOT_FOUND", "IDEMPOTENCY_KEY_REUSED", "STORE_BUSY", "STORE_UNAVAILABLE"),
    keyed=False,  # the key is the event's identity, so that a repeat continues an unfinished delivery
)
async def publish(call: Call[PublishEvent, Nothing]) -> Reply:
    """Publish an event: it resumes the runs that wait for it, and starts runs by triggers."""
    body = call.body
    new = from_body(
        commands.NewEvent,
        body,
        data=msgspec.json.encode(body.data),
        key=call.idempotency_key(),
        occurred_at=moment_ms("occurred_at", body.occurred_at),
    )
    published = await commands.publish(*scoped(call), new)
    return Reply(202, PublishedEvent(*published))
