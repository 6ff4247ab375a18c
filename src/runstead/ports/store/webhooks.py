"""Webhooks and their deliveries.

A command that changes the status of a run writes the deliveries of that event (`webhooks.event.deliveries`)
in its transaction, for all webhooks that were enabled when the transaction began. After `create` or `change`
has returned, no later commit misses the webhook.
"""

from collections.abc import Callable
from typing import Protocol

from runstead.core.idempotency import Idempotency
from runstead.core.queue.fair_share import FairShare
from runstead.core.webhooks.webhook import DecidePair, Delivery, DeliveryStatus, Pair, Webhook
from runstead.ports.store.project_records import ProjectRecords

DecideDelivery = Callable[[Webhook, int], Delivery]
"""(webhook, now) → a new delivery to the webhook."""


class Webhooks(ProjectRecords[Webhook], Protocol):
    async def page(self, project_id: str, limit: int) -> list[Webhook]:
        """Return the project's webhooks, oldest first."""

    async def add(
        self, project_id: str, webhook_id: str, decide: DecideDelivery, idempotency: Idempotency = None
    ) -> Delivery:
        """Store a new delivery. NOT_FOUND."""

    async def settle(
        self,
        project_id: str,
        webhook_id: str,
        delivery_id: str,
        decide: DecidePair,
        idempotency: Idempotency = None,
    ) -> Pair:
        """Change a delivery, and its webhook if the decision changes it. NOT_FOUND."""

    async def delivery(self, project_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        """Return a delivery with its payload, None if the webhook has no delivery with this id."""

    async def deliveries(
        self,
        project_id: str,
        webhook_id: str,
        limit: int,
        before: int | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[Delivery]:
        """Return deliveries with a seq less than `before`, newest first, without payloads."""

    async def take(self, share: FairShare, per_webhook: int, lease_ms: int) -> list[Pair]:
        """Start attempts of due deliveries within the share, at most `per_webhook` for each webhook, and none for
        disabled webhooks.

        Projects with fewer attempts in progress come first, and of a project its earliest deliveries.

        `attempts` grows by one, and the delivery is leased for `lease_ms`. Two calls never get the same
        delivery.
        """

    async def hooked(self, limit: int) -> list[str]:
        """Return at most `limit` projects that have an enabled webhook."""

    async def prune(self, age_ms: int, limit: int) -> int:
        """Delete at most `limit` deliveries that are older than `age_ms` and had no attempt due in the last
        day or later. Returns their number.
        """
