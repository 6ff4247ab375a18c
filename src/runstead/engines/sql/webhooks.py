"""Webhooks and their deliveries.

Deliveries are written by the transaction of a run's change, for the webhooks that it sees. On PostgreSQL, a transaction
that began before a webhook was committed may not see it. So `create` and `change` wait for those transactions, and no
delivery is missed after they have returned. Transactions of runs do not wait.
"""

from collections import Counter
from collections.abc import Awaitable

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import existing
from runstead.core.idempotency import Idempotency
from runstead.core.queue.fair_share import FairShare
from runstead.core.webhooks.webhook import DecidePair, Delivery, DeliveryStatus, Pair, Webhook
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import command
from runstead.engines.sql.project_records import SqlProjectRecords
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    execute,
    first,
    rewrite,
    select,
    select_rows,
    value,
    values,
)
from runstead.ports.store import Change, Count, DecideDelivery


class SqlWebhooks(SqlProjectRecords[Webhook]):
    _record = Webhook
    _noun = "webhook"
    _lock_space = LockSpace.WEBHOOKS

    async def create(self, record: Webhook, guard: Count, idempotency: Idempotency = None) -> Webhook:
        return await self._settled(super().create(record, guard, idempotency))

    async def change(
        self, project_id: str, record_id: str, decide: Change[Webhook], idempotency: Idempotency = None
    ) -> Webhook:
        return await self._settled(super().change(project_id, record_id, decide, idempotency))

    async def page(self, project_id: str, limit: int) -> list[Webhook]:
        return await self._database.read(select, "webhooks_page", Webhook, project_id=project_id, limit=limit)

    @command
    def add(
        self,
        now: int,
        project_id: str,
        webhook_id: str,
        decide: DecideDelivery,
        idempotency: Idempotency = None,
    ) -> Steps[Delivery]:
        new = decide((yield from self._lock(project_id, webhook_id)), now)
        seq = yield from value("add_delivery", **fields(new))
        return replace(new, seq=seq)

    @command
    def settle(
        self,
        now: int,
        project_id: str,
        webhook_id: str,
        delivery_id: str,
        decide: DecidePair,
        idempotency: Idempotency = None,
    ) -> Steps[Pair]:
        webhook = yield from self._lock(project_id, webhook_id)
        delivery = existing(
            (yield from first("lock_delivery", Delivery, id=delivery_id, webhook_id=webhook_id)), "Delivery"
        )
        pair = decide(webhook, delivery, now)
        yield from rewrite("webhooks", webhook, pair[0])
        yield from rewrite("webhook_deliveries", delivery, pair[1])
        return pair

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

    @command
    def prune(self, now: int, age_ms: int, limit: int) -> Steps[int]:
        before = {"created_before": now - age_ms, "attempt_before": now - limits.delivery_overdue_ms_max}
        return execute("prune_deliveries", None, **before, limit=limit)

    def _delete_beside(self, record_id: str) -> Steps[None]:
        yield from execute("delete_deliveries", webhook_id=record_id)

    async def _settled(self, command: Awaitable[Webhook]) -> Webhook:
        """The command's result, or its replayed answer, once no later commit misses the webhook."""
        try:
            return await command
        finally:
            await self._database.settle()
