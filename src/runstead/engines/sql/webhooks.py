"""Webhooks and their deliveries.

Deliveries are written by the transaction of a run's change, for the webhooks that it sees. On PostgreSQL, a transaction
that began before a webhook was committed may not see it. So `create` and `change` wait for those transactions, and no
delivery is missed after they have returned. Transactions of runs do not wait.
"""

from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import existing
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.fair_share import FairShare
from runstead.core.webhooks.webhook import DecidePair, Delivery, DeliveryStatus, Pair, Webhook
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    StoreDatabase,
    changed,
    execute,
    first,
    lock,
    rewrite,
    select,
    select_rows,
    value,
    values,
)
from runstead.ports.store import Count, DecideDelivery, DecideWebhook


class SqlWebhooks:
    def __init__(self, database: StoreDatabase) -> None:
        self._database = database

    async def create(
        self, webhook: Webhook, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Webhook:
        def create(_now: int) -> Steps[Webhook]:
            yield from lock(LockSpace.WEBHOOKS, [webhook.project_id])
            guard((yield from value("count_webhooks", project_id=webhook.project_id)))
            yield from execute("add_webhook", webhook)
            yield from changed(None, webhook)
            return webhook

        return await self._write_and_settle(create, idempotency)

    async def get(self, project_id: str, webhook_id: str) -> Webhook | None:
        return await self._database.read(first, "webhook", Webhook, id=webhook_id, project_id=project_id)

    async def page(self, project_id: str, limit: int) -> list[Webhook]:
        return await self._database.read(select, "webhooks_page", Webhook, project_id=project_id, limit=limit)

    async def change(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideWebhook,
        idempotency: IdempotencyRecord | None = None,
    ) -> Webhook:
        def change(now: int) -> Steps[Webhook]:
            old = yield from _lock_webhook(project_id, webhook_id)
            new = decide(old, now)
            yield from rewrite("webhooks", old, new)
            yield from changed(old, new)
            return new

        return await self._write_and_settle(change, idempotency)

    async def delete(self, project_id: str, webhook_id: str) -> bool:
        def delete(_now: int) -> Steps[bool]:
            deleted = yield from first("delete_webhook", Webhook, id=webhook_id, project_id=project_id)
            if deleted is not None:
                yield from execute("delete_deliveries", webhook_id=webhook_id)
            yield from changed(deleted, None)
            return deleted is not None

        return await self._database.write(delete)

    async def add(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideDelivery,
        idempotency: IdempotencyRecord | None = None,
    ) -> Delivery:
        def add(now: int) -> Steps[Delivery]:
            new = decide((yield from _lock_webhook(project_id, webhook_id)), now)
            seq = yield from value("add_delivery", **fields(new))
            return replace(new, seq=seq)

        return await self._database.write(add, idempotency)

    async def settle(
        self,
        project_id: str,
        webhook_id: str,
        delivery_id: str,
        decide: DecidePair,
        idempotency: IdempotencyRecord | None = None,
    ) -> Pair:
        def settle(now: int) -> Steps[Pair]:
            webhook = yield from _lock_webhook(project_id, webhook_id)
            delivery = existing(
                (yield from first("lock_delivery", Delivery, id=delivery_id, webhook_id=webhook_id)),
                "Delivery",
            )
            pair = decide(webhook, delivery, now)
            yield from rewrite("webhooks", webhook, pair[0])
            yield from rewrite("webhook_deliveries", delivery, pair[1])
            return pair

        return await self._database.write(settle, idempotency)

    async def delivery(self, project_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        found = await self._database.read(first, "delivery", Delivery, id=delivery_id, webhook_id=webhook_id)
        return found if found is not None and found.project_id == project_id else None

    async def deliveries(
        self,
        project_id: str,
        webhook_id: str,
        limit: int,
        before: int | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[Delivery]:
        rows = await self._database.page(
            select_rows,
            "deliveries_page",
            webhook_id=webhook_id,
            project_id=project_id,
            before=before,
            status=status,
            limit=limit,
        )
        return [Delivery(**row, payload=b"") for row in rows]

    async def take(self, share: FairShare, per_webhook: int, lease_ms: int) -> list[Pair]:
        """Replicas may call it at the same time: each gets other deliveries."""

        def take(now: int) -> Steps[list[Pair]]:
            due = yield from select(
                "due_deliveries",
                Delivery,
                now=now,
                busy=list(share.busy),
                held=list(Counter(share.held).elements()),
                per_webhook=min(per_webhook, share.limit),
                per_project=share.per_project,
                limit=share.limit,
            )
            if not due:
                return []
            until = now + lease_ms
            yield from execute("lease_deliveries", ids=[delivery.id for delivery in due], until=until)
            ids = sorted({delivery.webhook_id for delivery in due})
            webhooks = yield from select("webhooks_by_id", Webhook, ids=ids)
            by_id = {webhook.id: webhook for webhook in webhooks}
            return [
                (
                    by_id[delivery.webhook_id],
                    replace(delivery, attempts=delivery.attempts + 1, next_attempt_at=until),
                )
                for delivery in due
            ]

        return await self._database.write(take)

    async def hooked(self, limit: int) -> list[str]:
        return await self._database.read(values, "projects_with_webhooks", limit=limit)

    async def prune(self, age_ms: int, limit: int) -> int:
        def prune(now: int) -> Steps[int]:
            before = {
                "created_before": now - age_ms,
                "attempt_before": now - limits.delivery_overdue_ms_max,
            }
            return (yield from execute("prune_deliveries", None, **before, limit=limit))

        return await self._database.write(prune)

    async def _write_and_settle(
        self, command: Callable[[int], Steps[Webhook]], idempotency: IdempotencyRecord | None
    ) -> Webhook:
        """The command's result, or its replayed answer, once no later commit misses the webhook."""
        try:
            return await self._database.write(command, idempotency)
        finally:
            await self._database.settle()


def _lock_webhook(project_id: str, webhook_id: str) -> Steps[Webhook]:
    return existing(
        (yield from first("lock_webhook", Webhook, id=webhook_id, project_id=project_id)), "Webhook"
    )
