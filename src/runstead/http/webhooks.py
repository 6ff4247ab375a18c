"""Webhooks: `/projects/{project}/webhooks…`."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from runstead.commands import webhooks as commands
from runstead.core import limits
from runstead.core.webhooks.body import BodyFormat
from runstead.core.webhooks.webhook import Delivery, DeliveryStatus, Webhook
from runstead.http.answers import answer_of, page_of
from runstead.http.arguments import named, scoped
from runstead.http.bounds import text
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted, paged, position_by_seq
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import SECRET, PageLimit
from runstead.http.framework.views import Timestamp, view_of
from runstead.ports.store import ListPage

routes = Routes("Webhooks")

_WEBHOOKS = "/projects/{project}/webhooks"
_WEBHOOK = _WEBHOOKS + "/{webhook_id}"

WebhookEvent: TypeAlias = Literal[
    "*",
    "run.started",
    "run.waiting",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "alert.fired",
    "alert.resolved",
]
"""`*` and the event types of `core.webhooks.event.EVENT_TYPES`."""
_Url = Annotated[str, Meta(min_length=1, max_length=limits.webhook_url_chars_max)]
_Events = Annotated[list[WebhookEvent], Meta(min_length=1, max_length=32)]
_Secret = Annotated[str, text(128, "`whsec_` and the base64 of 24 to 64 random bytes.", pattern=SECRET)]
_WRITE_SECRET = (*CHANGE, "ENCRYPTION_KEY_MISSING")


class CreateWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook to create. Without a `secret`, the server generates one.

    `format` is the form of the bodies: `standard` (Standard Webhooks), `slack` (a message for an incoming webhook) or
    `cloudevents` (CloudEvents 1.0, structured JSON). It never changes.
    """

    url: _Url
    events: _Events
    secret: _Secret | None = None
    format: BodyFormat | None = None


class UpdateWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """Members that are left out or null are not changed. `enabled: true` resets the failures."""

    url: _Url | None = None
    events: _Events | None = None
    enabled: bool | None = None


class RotateWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """Without a `secret`, the server generates one."""

    secret: _Secret | None = None


class WebhookView(msgspec.Struct, frozen=True):
    """A webhook. `failing_since` is the time of the first failure after the last successful delivery.

    Until `old_secret_until`, deliveries are also signed with the previous secret.
    """

    id: str
    project_id: str
    url: str
    format: BodyFormat
    events: list[str]
    enabled: bool
    disabled_at: Timestamp | None
    disabled_reason: str | None
    failing_since: Timestamp | None
    old_secret_until: Timestamp | None
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp


WebhookAnswer = answer_of("WebhookAnswer", webhook=WebhookView)
WebhookList = answer_of("WebhookList", data=list[WebhookView])
WebhookDeleted = answer_of("WebhookDeleted", deleted=bool)


class CreatedWebhook(msgspec.Struct, frozen=True):
    """`secret` is shown once, and is null in a replay under an Idempotency-Key."""

    webhook: WebhookView
    secret: str | None


class DeliveryView(msgspec.Struct, frozen=True):
    """The delivery of an event to a webhook. The receiver gets `id` as the header `webhook-id`.

    `last_error` and `duration_ms` are of the last attempt. `next_attempt_at` is set while the delivery is
    pending.
    """

    id: str
    webhook_id: str
    event_type: str
    run_id: str | None
    status: DeliveryStatus
    attempts: int
    last_status_code: int | None
    last_error: str | None
    next_attempt_at: Timestamp | None
    created_at: Timestamp
    delivered_at: Timestamp | None
    duration_ms: int | None


DeliveryAnswer = answer_of("DeliveryAnswer", delivery=DeliveryView)
DeliveryPage = page_of("DeliveryPage", DeliveryView)


def view(webhook: Webhook) -> WebhookView:
    return view_of(WebhookView, webhook, enabled=webhook.disabled_at is None)


def delivery_view(delivery: Delivery) -> DeliveryView:
    return view_of(DeliveryView, delivery, last_status_code=delivery.last_status)


@routes.route(
    "POST",
    _WEBHOOKS,
    body=CreateWebhook,
    answer=CreatedWebhook,
    status=201,
    errors=(*_WRITE_SECRET, "WEBHOOK_LIMIT_REACHED"),
    location="/projects/{webhook.project_id}/webhooks/{webhook.id}",
)
async def create(call: Call[CreateWebhook, Nothing]) -> Reply:
    """Create a webhook. Its secret is shown only in this answer."""
    body, secret = call.body, call.body.secret or commands.new_secret()
    body_format = body.format or "standard"
    return await call.idempotent(
        lambda record: commands.create(
            *scoped(call), body.url, body.events, secret, record, body_format=body_format
        ),
        lambda webhook: Reply(201, CreatedWebhook(view(webhook), secret)),
        secret,
    )


@routes.route("GET", _WEBHOOKS, answer=WebhookList, errors=LOOKUP)
async def page(call: Call[Nothing, Nothing]) -> Reply:
    """List the project's webhooks, oldest first."""
    found = await commands.page(*scoped(call))
    return Reply(200, WebhookList([view(webhook) for webhook in found]))


@routes.route("GET", _WEBHOOK, answer=WebhookView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a webhook."""
    return Reply(200, view(await commands.get(*named(call))))


@routes.route("PATCH", _WEBHOOK, body=UpdateWebhook, answer=WebhookAnswer, errors=CHANGE)
async def change(call: Call[UpdateWebhook, Nothing]) -> Reply:
    """Change a webhook's URL or events, enable or disable it."""
    members = msgspec.structs.asdict(call.body)
    return await call.idempotent(
        lambda record: commands.change(*named(call), **members, idempotency=record),
        lambda webhook: Reply(200, WebhookAnswer(view(webhook))),
    )


@routes.route("DELETE", _WEBHOOK, answer=WebhookDeleted, errors=CHANGE)
async def delete(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a webhook with its deliveries. Pending deliveries are not sent."""
    await commands.delete(*named(call))
    return Reply(200, WebhookDeleted(deleted=True))


@routes.route("POST", _WEBHOOK + "/rotate", body=RotateWebhook, answer=CreatedWebhook, errors=_WRITE_SECRET)
async def rotate(call: Call[RotateWebhook, Nothing]) -> Reply:
    """Replace a webhook's secret. For 24 hours, deliveries are also signed with the old secret."""
    secret = call.body.secret or commands.new_secret()
    return await call.idempotent(
        lambda record: commands.rotate(*named(call), secret, record),
        lambda webhook: Reply(200, CreatedWebhook(view(webhook), secret)),
        secret,
    )


@routes.route(
    "POST", _WEBHOOK + "/test", answer=DeliveryAnswer, status=202, errors=(*CHANGE, "WEBHOOK_DISABLED")
)
async def test(call: Call[Nothing, Nothing]) -> Reply:
    """Send a `webhook.test` event. The list of deliveries shows its outcome."""
    return await call.idempotent(lambda record: commands.send_test(*named(call), record), _queued)


def _queued(delivery: Delivery) -> Reply:
    return Reply(202, DeliveryAnswer(delivery_view(delivery)))


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    status: DeliveryStatus | None = None
    cursor: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    limit: PageLimit = limits.page_rows_default


@routes.route("GET", _WEBHOOK + "/deliveries", query=DeliveryFilter, answer=DeliveryPage, errors=LOOKUP)
async def deliveries(call: Call[Nothing, DeliveryFilter]) -> Reply:
    """List the deliveries of the last week and the pending ones, newest first."""
    query = call.query
    found = await commands.deliveries(
        *named(call), query.limit + 1, position_by_seq(query.cursor), query.status
    )
    shown = fitted(ListPage.of(found, query.limit), delivery_view)
    return Reply(200, paged(shown, query.cursor, lambda last: last.seq))


@routes.route(
    "POST",
    _WEBHOOK + "/deliveries/{delivery_id}/redeliver",
    answer=DeliveryAnswer,
    status=202,
    errors=(*CHANGE, "WEBHOOK_DISABLED"),
)
async def redeliver(call: Call[Nothing, Nothing]) -> Reply:
    """Send a delivery again under the same id, whatever its status."""
    delivery_id = call.path["delivery_id"]
    return await call.idempotent(
        lambda record: commands.redeliver(*named(call), delivery_id, record), lambda pair: _queued(pair[1])
    )
