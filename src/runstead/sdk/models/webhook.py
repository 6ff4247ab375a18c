"""Webhooks, what they were sent, and triggers, as the server answers them."""

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from runstead.sdk.models.response import PageInfo, ResponseModel


class Webhook(ResponseModel, frozen=True, kw_only=True):
    """`failing_since` is the first failure since the last delivery that arrived; a disabled one says why. Until
    `old_secret_until`, what arrives is signed with the secret before the current one as well.
    """

    id: str
    project_id: str
    url: str
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
    webhook: Webhook


class CreatedWebhook(ResponseModel, frozen=True, kw_only=True):
    """`secret` verifies what arrives, and is never shown again; None in the replay of an idempotency key."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"secret"})

    webhook: Webhook
    secret: str | None = None


class WebhookList(ResponseModel, frozen=True, kw_only=True):
    data: list[Webhook]


class Delivery(ResponseModel, frozen=True, kw_only=True):
    """One event on its way to one webhook. `status` is pending, delivered or failed."""

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
    delivery: Delivery


class DeliveryPage(ResponseModel, frozen=True, kw_only=True):
    data: list[Delivery]
    page_info: PageInfo


class Trigger(ResponseModel, frozen=True, kw_only=True):
    """`signed`: whether calls must be. `conversation_id`: where each run of an agent speaks; else each in a new one."""

    id: str
    project_id: str
    name: str
    target: str
    config: dict[str, Any] | None = None
    enabled: bool = True
    disabled_at: datetime | None = None
    signed: bool = False
    conversation_id: str | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class TriggerAnswer(ResponseModel, frozen=True, kw_only=True):
    trigger: Trigger


class CreatedTrigger(ResponseModel, frozen=True, kw_only=True):
    """`token` starts runs, and is never shown again; None in the replay of an idempotency key."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"token"})

    trigger: Trigger
    token: str | None = None


class TriggerList(ResponseModel, frozen=True, kw_only=True):
    data: list[Trigger]


class TriggerRun(ResponseModel, frozen=True, kw_only=True):
    """The run that a call of a trigger started; `duplicate` where an earlier call did."""

    run_id: str
    duplicate: bool = False
