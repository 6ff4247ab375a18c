"""Webhooks and their deliveries in memory."""

from collections import Counter

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.fair_share import FairShare
from runstead.core.webhooks.webhook import DecidePair, Delivery, DeliveryStatus, Pair, Webhook
from runstead.ports.store import Change, Count, DecideDelivery, Webhooks
from tests.support.model.journal import Effect, Journal
from tests.support.model.rows import Rows


class ModelWebhooks(Webhooks):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows

    async def create(
        self, webhook: Webhook, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Webhook:
        def plan(_: int) -> tuple[Webhook, Effect]:
            assert webhook.id not in self._rows.webhooks, webhook.id
            guard(len(self._of_project(webhook.project_id)))
            return webhook, lambda: self._rows.webhooks.update({webhook.id: webhook})

        return self._journal.write(idempotency, plan)

    def _of_project(self, project_id: str) -> list[Webhook]:
        return [one for one in self._rows.webhooks.values() if one.project_id == project_id]

    def _find(self, project_id: str, webhook_id: str) -> Webhook:
        found = self._rows.webhooks.get(webhook_id)
        if found is None or found.project_id != project_id:
            raise not_found("Webhook")
        return found

    async def get(self, project_id: str, webhook_id: str) -> Webhook | None:
        found = self._rows.webhooks.get(webhook_id)
        return found if found is not None and found.project_id == project_id else None

    async def page(self, project_id: str, limit: int) -> list[Webhook]:
        return sorted(self._of_project(project_id), key=lambda one: (one.created_at, one.id))[:limit]

    async def change(
        self,
        project_id: str,
        webhook_id: str,
        decide: Change[Webhook],
        idempotency: IdempotencyRecord | None = None,
    ) -> Webhook:
        def plan(now: int) -> tuple[Webhook, Effect]:
            new = decide(self._find(project_id, webhook_id), now)
            return new, lambda: self._rows.webhooks.update({webhook_id: new})

        return self._journal.write(idempotency, plan)

    async def delete(self, project_id: str, webhook_id: str) -> bool:
        def plan(_: int) -> tuple[bool, Effect]:
            known = self._rows.webhooks.get(webhook_id)
            if known is None or known.project_id != project_id:
                return False, lambda: None
            return True, lambda: self._drop(webhook_id)

        return self._journal.write(None, plan)

    def _drop(self, webhook_id: str) -> None:
        del self._rows.webhooks[webhook_id]
        for name in [one.id for one in self._rows.deliveries.values() if one.webhook_id == webhook_id]:
            del self._rows.deliveries[name]

    async def add(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideDelivery,
        idempotency: IdempotencyRecord | None = None,
    ) -> Delivery:
        def plan(now: int) -> tuple[Delivery, Effect]:
            made = replace(
                decide(self._find(project_id, webhook_id), now), seq=self._rows.latest_delivery_seq + 1
            )
            return made, lambda: self._rows.add_delivery(made)

        return self._journal.write(idempotency, plan)

    async def settle(
        self,
        project_id: str,
        webhook_id: str,
        delivery_id: str,
        decide: DecidePair,
        idempotency: IdempotencyRecord | None = None,
    ) -> Pair:
        def plan(now: int) -> tuple[Pair, Effect]:
            webhook = self._find(project_id, webhook_id)
            delivery = self._rows.deliveries.get(delivery_id)
            if delivery is None or delivery.webhook_id != webhook_id:
                raise not_found("Delivery")
            pair = decide(webhook, delivery, now)

            def effect() -> None:
                self._rows.webhooks[webhook_id], self._rows.deliveries[delivery_id] = pair

            return pair, effect

        return self._journal.write(idempotency, plan)

    async def delivery(self, project_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        found = self._rows.deliveries.get(delivery_id)
        fits = found is not None and (found.webhook_id, found.project_id) == (webhook_id, project_id)
        return found if fits else None

    async def deliveries(
        self,
        project_id: str,
        webhook_id: str,
        limit: int,
        before: int | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[Delivery]:
        found = [
            replace(one, payload=b"")
            for one in self._rows.deliveries.values()
            if (one.project_id, one.webhook_id) == (project_id, webhook_id)
            and (before is None or one.seq < before)
            and status in (None, one.status)
        ]
        return sorted(found, key=lambda one: one.seq, reverse=True)[:limit]

    async def take(self, share: FairShare, per_webhook: int, lease_ms: int) -> list[Pair]:
        def plan(now: int) -> tuple[list[Pair], Effect]:
            of_webhook, of_project = Counter[str](), Counter(share.held)
            turns: list[tuple[int, Pair]] = []
            for at, seq, one in sorted(
                (one.next_attempt_at, one.seq, one)
                for one in self._rows.deliveries.values()
                if one.next_attempt_at is not None and one.next_attempt_at <= now
            ):
                assert (one.next_attempt_at, one.seq) == (at, seq)
                webhook = self._rows.webhooks.get(one.webhook_id)
                if webhook is None or webhook.disabled_at is not None or webhook.id in share.busy:
                    continue
                of_webhook[webhook.id] += 1
                if of_webhook[webhook.id] <= min(per_webhook, share.limit):
                    of_project[webhook.project_id] += 1
                    leased = replace(one, attempts=one.attempts + 1, next_attempt_at=now + lease_ms)
                    turns.append((of_project[webhook.project_id], (webhook, leased)))
            turns.sort(key=lambda turn: turn[0])
            taken = [pair for turn, pair in turns if turn <= share.per_project][: share.limit]
            return taken, lambda: self._rows.deliveries.update({one.id: one for _, one in taken})

        return self._journal.write(None, plan)

    async def hooked(self, limit: int) -> list[str]:
        enabled = (one.project_id for one in self._rows.webhooks.values() if one.disabled_at is None)
        return list(dict.fromkeys(enabled))[:limit]

    async def prune(self, age_ms: int, limit: int) -> int:
        def plan(now: int) -> tuple[int, Effect]:
            old = [
                one.id
                for one in self._rows.deliveries.values()
                if one.created_at < now - age_ms
                and (
                    one.next_attempt_at is None or one.next_attempt_at < now - limits.delivery_overdue_ms_max
                )
            ][:limit]

            def effect() -> None:
                for name in old:
                    del self._rows.deliveries[name]

            return len(old), effect

        return self._journal.write(None, plan)
