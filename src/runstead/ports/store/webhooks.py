"""Webhooks and their deliveries.

Whichever command changes a run's status, the deliveries of that event (`webhook_event.deliveries`) are written in its
transaction, for the webhooks that were there and enabled when it began at the latest: once `create` or `change` has
returned, no later commit misses the webhook.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.webhooks.webhook import DecidePair, Delivery, DeliveryStatus, Pair, Webhook
from runstead.ports.store.identity import Count

DecideWebhook = Callable[[Webhook, int], Webhook]
"""(webhook, now) → the webhook as it shall be; the very object where nothing changes."""

DecideDelivery = Callable[[Webhook, int], Delivery]
"""(webhook, now) → a new delivery of it."""


class Webhooks(Protocol):
    async def create(
        self, webhook: Webhook, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Webhook:
        """The guard gets the number of the project's webhooks."""
        ...

    async def get(self, project_id: str, webhook_id: str) -> Webhook | None: ...

    async def page(self, project_id: str, limit: int) -> list[Webhook]:
        """Oldest first."""
        ...

    async def change(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideWebhook,
        idempotency: IdempotencyRecord | None = None,
    ) -> Webhook:
        """NOT_FOUND."""
        ...

    async def delete(self, project_id: str, webhook_id: str) -> bool:
        """With all its deliveries; whether it was there."""
        ...

    async def add(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideDelivery,
        idempotency: IdempotencyRecord | None = None,
    ) -> Delivery:
        """Store a delivery. NOT_FOUND."""
        ...

    async def settle(
        self,
        project_id: str,
        webhook_id: str,
        delivery_id: str,
        decide: DecidePair,
        idempotency: IdempotencyRecord | None = None,
    ) -> Pair:
        """Change a delivery, and its webhook where the decision does. NOT_FOUND."""
        ...

    async def delivery(self, project_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        """One with its payload, None where the project's webhook has none of this id."""
        ...

    async def deliveries(
        self,
        project_id: str,
        webhook_id: str,
        limit: int,
        before: int | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[Delivery]:
        """Newest first, with a seq under `before`; their payloads are left out."""
        ...

    async def take(self, limit: int, per_webhook: int, busy: Sequence[str], lease_ms: int) -> list[Pair]:
        """Begin an attempt of at most `limit` due deliveries, soonest first: at most `per_webhook` of one webhook, none
        of those in `busy` and of disabled ones. `attempts` grows by one, and until `lease_ms` from now nobody else gets
        them. No two calls get the same one.
        """
        ...

    async def hooked(self, limit: int) -> list[str]:
        """Projects that have an enabled webhook."""
        ...

    async def prune(self, age_ms: int, limit: int) -> int:
        """Drop at most `limit` deliveries that are older than this, but those that were to be tried in the last day or
        are yet to be; how many.
        """
        ...
