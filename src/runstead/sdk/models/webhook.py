"""Webhooks, their deliveries, and triggers."""

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from runstead.sdk.models.response import Listing, Page, ResponseModel


class Webhook(ResponseModel, frozen=True, kw_only=True):
    """A webhook.

    `failing_since` is the first failure since the last successful delivery. Until `old_secret_until`, deliveries are
    also signed with the previous secret.
    """

    id: str
    project_id: str
    url: str
    format: str = "standard"
    events: list[str] = msgspec.field(default_factory=list)
    enabled: bool = True
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    old_secret_until: datetime | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class WebhookAnswer(ResponseModel, frozen=True, kw_only=True):
    """The stored webhook."""

    webhook: Webhook


class CreatedWebhook(ResponseModel, frozen=True, kw_only=True):
    """A new webhook. `secret` verifies its deliveries and is shown once; None in the replay of an idempotency key."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"secret"})

    webhook: Webhook
    secret: str | None = None


class WebhookList(ResponseModel, frozen=True, kw_only=True):
    """The webhooks of a project."""

    data: list[Webhook]


class Delivery(ResponseModel, frozen=True, kw_only=True):
    """The delivery of one event to one webhook. `status` is pending, delivered or failed."""

    id: str
    webhook_id: str
    event_type: str
    status: str
    run_id: str | None = None
    attempts: int = 0
    last_status_code: int | None = None
    last_error: str | None = None
    next_attempt_at: datetime | None = None
    created_at: datetime | None = None
    delivered_at: datetime | None = None
    duration_ms: int | None = None


class DeliveryAnswer(ResponseModel, frozen=True, kw_only=True):
    """One delivery."""

    delivery: Delivery


class DeliveryPage(Page[Delivery], frozen=True, kw_only=True):
    """One page of the deliveries of a webhook, newest first."""


class TriggerEvent(ResponseModel, frozen=True, kw_only=True):
    """Events of the bus that start runs: of this name, and with the values of `match` at these dotted paths of their
    data.
    """

    name: str
    match: dict[str, Any] | None = None


class Trigger(ResponseModel, frozen=True, kw_only=True):
    """A trigger. `signed`: calls must be signed. `conversation_id` is the conversation of its agent runs; None: each
    run gets a new one. `event`: events of the bus start runs too.
    """

    id: str
    project_id: str
    name: str
    target: str
    config: dict[str, Any] | None = None
    enabled: bool = True
    disabled_at: datetime | None = None
    signed: bool = False
    conversation_id: str | None = None
    event: TriggerEvent | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    concurrency_key: str | None = None
    unique: dict[str, Any] | None = None
    debounce: dict[str, Any] | None = None


class TriggerAnswer(ResponseModel, frozen=True, kw_only=True):
    """The stored trigger."""

    trigger: Trigger


class CreatedTrigger(ResponseModel, frozen=True, kw_only=True):
    """A new trigger. `token` starts runs and is shown once; None in the replay of an idempotency key."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"token"})

    trigger: Trigger
    token: str | None = None


class TriggerList(Listing[Trigger], frozen=True, kw_only=True):
    """The triggers of a project."""


class TriggerRun(ResponseModel, frozen=True, kw_only=True):
    """The run that a trigger's call started. `duplicate`: an earlier call with the same key started it."""

    run_id: str
    duplicate: bool = False
