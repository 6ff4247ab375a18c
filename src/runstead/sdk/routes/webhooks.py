"""Routes of webhooks and triggers. All of them need the scope `admin`, except for firing a trigger."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from runstead.sdk.models.webhook import (
    CreatedTrigger,
    CreatedWebhook,
    Delivery,
    DeliveryAnswer,
    DeliveryPage,
    Trigger,
    TriggerAnswer,
    TriggerEvent,
    TriggerList,
    TriggerRun,
    Webhook,
    WebhookAnswer,
    WebhookList,
)
from runstead.sdk.routes.call import Call, idempotent, members, path
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route


class Webhooks(Resource[S_co]):
    """404 for a webhook or a delivery that is unknown or not visible to the caller."""

    @endpoint("POST", "/projects/{ref}/webhooks", key="given")
    def create(
        self,
        url: str,
        events: Sequence[str] = ("*",),
        *,
        secret: str | None = None,
        format: Literal["standard", "slack", "cloudevents"] | None = None,  # noqa: A002 - the member's name
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[CreatedWebhook]:
        """Send events to this URL from now on. The answer's `secret` is shown once.

        `format` is the form of the bodies: Standard Webhooks, a Slack message or a CloudEvent.

        A replay under an idempotency key does not show it either. So none is sent by default, and the call is retried
        only where it certainly had no effect. 400 with `errors` for invalid values, 409 WEBHOOK_LIMIT_REACHED.
        """

    @endpoint("GET", "/projects/{ref}/webhooks")
    def list(self, *, project: str | None = None) -> Call[WebhookList]:
        """All of them, oldest first."""

    @endpoint("GET", "/projects/{ref}/webhooks/{webhook_id}")
    def get(self, webhook_id: str, *, project: str | None = None) -> Call[Webhook]: ...

    @endpoint("PATCH", "/projects/{ref}/webhooks/{webhook_id}", key="new")
    def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
        project: str | None = None,
    ) -> Call[WebhookAnswer]:
        """Change the members that are given. Enabling resets the failures."""

    @route
    def rotate(
        self,
        webhook_id: str,
        *,
        secret: str | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[CreatedWebhook]:
        """`POST /projects/{ref}/webhooks/{id}/rotate`: set a new secret. The old one also signs for 24 hours.

        The answer's `secret` is shown once, with the same retries as `create`. With a `secret` of yours the
        call may be retried. 400 with `errors` for an invalid secret.
        """
        return Call(
            "POST",
            self._in_project(project, "webhooks", webhook_id, "rotate"),
            CreatedWebhook,
            body=members(secret=secret),
            idempotency_key=idempotency_key,
            repeatable=idempotency_key is not None or secret is not None,
        )

    @endpoint("DELETE", "/projects/{ref}/webhooks/{webhook_id}")
    def delete(self, webhook_id: str, *, project: str | None = None) -> Call[None]:
        """Delete the webhook and its deliveries."""

    @endpoint("POST", "/projects/{ref}/webhooks/{webhook_id}/test", key="new")
    def test(self, webhook_id: str, *, project: str | None = None) -> Call[DeliveryAnswer]:
        """Send it a `webhook.test`. 409 WEBHOOK_DISABLED."""

    @endpoint("GET", "/projects/{ref}/webhooks/{webhook_id}/deliveries")
    def list_deliveries(
        self,
        webhook_id: str,
        *,
        status: Literal["pending", "delivered", "failed"] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        project: str | None = None,
    ) -> Call[DeliveryPage]:
        """Newest first; `page_info.next` is the next page's cursor."""

    iter_deliveries = every(list_deliveries, Delivery)

    @endpoint("POST", "/projects/{ref}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", key="new")
    def redeliver(
        self, webhook_id: str, delivery_id: str, *, project: str | None = None
    ) -> Call[DeliveryAnswer]:
        """Send it again, with the same id.

        409 WEBHOOK_DISABLED.
        """


def _event(event: str | TriggerEvent | None) -> TriggerEvent | None:
    return TriggerEvent(name=event) if isinstance(event, str) else event


class Triggers(Resource[S_co]):
    """404 for a trigger that is unknown or not visible to the caller."""

    @endpoint("POST", "/projects/{ref}/triggers", key="given", convert={"event": _event})
    def create(
        self,
        target: str,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        secret: str | None = None,
        conversation_id: str | None = None,
        concurrency_key: str | None = None,
        unique: Mapping[str, Any] | None = None,
        debounce: Mapping[str, Any] | None = None,
        event: str | TriggerEvent | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[CreatedTrigger]:
        """Create a trigger. The answer's `token` is shown once.

        `target` is `task:<id>`, `workflow:<id>`, `eval:<id>` or `agent:<id>`. With a `secret`, calls must be signed.
        `conversation_id` is the conversation of agent runs; without it each run gets a new one. `concurrency_key`,
        `unique` and `debounce` are those of `runs.create`, for each run of the trigger. `event`: events of the
        bus of this name start runs too; `TriggerEvent(name=…, match=…)` chooses them by their data. Retries are those of
        `webhooks.create`. 400 with `errors` for invalid values, 409 TRIGGER_LIMIT_REACHED.
        """

    @endpoint("GET", "/projects/{ref}/triggers")
    def list(self, *, cursor: str | None = None, project: str | None = None) -> Call[TriggerList]:
        """Oldest first. `page_info.next` is the next page's cursor."""

    iter = every(list, Trigger)

    @endpoint("GET", "/projects/{ref}/triggers/{trigger_id}")
    def get(self, trigger_id: str, *, project: str | None = None) -> Call[Trigger]: ...

    @endpoint("PATCH", "/projects/{ref}/triggers/{trigger_id}", key="new", convert={"event": _event})
    def update(
        self,
        trigger_id: str,
        *,
        name: str | None = None,
        enabled: bool | None = None,
        event: str | TriggerEvent | None = None,
        project: str | None = None,
    ) -> Call[TriggerAnswer]:
        """Change the members that are given."""

    @endpoint("POST", "/projects/{ref}/triggers/{trigger_id}/rotate")
    def rotate(self, trigger_id: str, *, project: str | None = None) -> Call[CreatedTrigger]:
        """Set a new token. The old one is no longer valid."""

    @endpoint("DELETE", "/projects/{ref}/triggers/{trigger_id}")
    def delete(self, trigger_id: str, *, project: str | None = None) -> Call[None]:
        """Delete the trigger. Its runs stay."""

    @route
    def fire(
        self, token: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> Call[TriggerRun]:
        """`POST /triggers/{token}`: start a run with this input.

        The same key always returns the same run. Without a key every call starts a run.
        """
        return idempotent("POST", path("triggers", token), TriggerRun, body=payload, key=idempotency_key)
