"""Webhooks and their deliveries in PostgreSQL.

Deliveries are written by the transaction of a run's change, for the webhooks that it sees. One that began before a new
webhook was committed may not see it: whoever makes the webhook waits for those (`_seen_by_all`), so that nothing is missed
once the caller has its answer, and transactions of runs wait for nobody.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.run import Run
from runstead.core.webhooks.event import deliveries
from runstead.core.webhooks.webhook import (
    DELIVERY_FIELDS,
    WEBHOOK_FIELDS,
    DecidePair,
    Delivery,
    DeliveryStatus,
    Pair,
    Webhook,
)
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.rows import columns_of, rewrite
from runstead.engines.postgres.sql import WEBHOOKS_OF, Q
from runstead.engines.sql.columns import from_webhook, to_webhook
from runstead.ports.store import Count, DecideDelivery, DecideWebhook

# Statements are put together from our own names alone.
_HOOK: Final = ", ".join(WEBHOOK_FIELDS)
_OF_PROJECTS: Final = (
    f"SELECT {_HOOK} FROM webhooks WHERE project_id = ANY ($1::text[]) AND disabled_at IS NULL"  # noqa: S608
)
_PAGE: Final = f"SELECT {_HOOK} FROM webhooks WHERE project_id = $1 ORDER BY created_at, id LIMIT $2"  # noqa: S608
_BY_ID: Final = f"SELECT {_HOOK} FROM webhooks WHERE id = $1 AND project_id = $2"  # noqa: S608
_COUNT: Final = "SELECT count(*) FROM webhooks WHERE project_id = $1"
_INSERT: Final = (
    f"INSERT INTO webhooks ({_HOOK})"  # noqa: S608
    f" VALUES ({', '.join(f'${n}' for n in range(1, len(WEBHOOK_FIELDS) + 1))})"
)
_DELETE: Final = "DELETE FROM webhooks WHERE id = $1 AND project_id = $2 RETURNING 1"
_DELETE_LOG: Final = "DELETE FROM webhook_deliveries WHERE webhook_id = $1"
_DELIVERY: Final = ", ".join(DELIVERY_FIELDS)
_SHOWN: Final = ", ".join("''::bytea AS payload" if name == "payload" else name for name in DELIVERY_FIELDS)
_STORED: Final = tuple(name for name in DELIVERY_FIELDS if name != "seq")
_NUMBERS: Final = {
    "created_at",
    "expires_at",
    "next_attempt_at",
    "attempts",
    "last_status",
    "delivered_at",
    "duration_ms",
}
_ARRAYS: Final = ", ".join(
    f"${n}::{'bytea' if name == 'payload' else 'bigint' if name in _NUMBERS else 'text'}[]"
    for n, name in enumerate(_STORED, 1)
)
_ADD: Final = (
    f"INSERT INTO webhook_deliveries ({', '.join(_STORED)}) SELECT * FROM unnest({_ARRAYS}) RETURNING seq"  # noqa: S608
)
_READ_ONE: Final = (
    f"SELECT {_DELIVERY} FROM webhook_deliveries"  # noqa: S608
    " WHERE id = ANY (ARRAY[$1::text]) AND webhook_id = $2 ORDER BY id"
)
_ONE: Final = f"{_READ_ONE} FOR UPDATE"
_LOG: Final = (
    f"SELECT {_SHOWN} FROM webhook_deliveries"  # noqa: S608
    " WHERE webhook_id = $1 AND project_id = $2 AND seq < coalesce($3::bigint, 9223372036854775807)"
    " AND ($4::text IS NULL OR status = $4) ORDER BY seq DESC LIMIT $5"
)
# From one webhook to the next within the index, however many deliveries each has; of each its share, unlocked, and of
# those together as many as are asked for. Rows that another replica holds are left out, and looked at again once locked.
_TAKE: Final = f"""
WITH RECURSIVE steps (webhook_id) AS (
  (SELECT webhook_id FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL ORDER BY webhook_id LIMIT 1)
  UNION ALL
  SELECT (SELECT d.webhook_id FROM webhook_deliveries AS d
          WHERE d.next_attempt_at IS NOT NULL AND d.webhook_id > steps.webhook_id ORDER BY d.webhook_id LIMIT 1)
  FROM steps WHERE steps.webhook_id IS NOT NULL
), due AS MATERIALIZED (
  SELECT share.id FROM steps
  CROSS JOIN LATERAL (
    SELECT id FROM webhooks
    WHERE id = ANY (ARRAY[steps.webhook_id]) AND disabled_at IS NULL AND id <> ALL ($4::text[]) ORDER BY id LIMIT 1
  ) AS w
  CROSS JOIN LATERAL (
    SELECT d.id, d.seq, d.next_attempt_at FROM webhook_deliveries AS d
    WHERE d.webhook_id = w.id AND d.next_attempt_at <= $1::bigint ORDER BY d.next_attempt_at, d.seq LIMIT $3::bigint
  ) AS share
  ORDER BY share.next_attempt_at, share.seq LIMIT $2::bigint
)
SELECT {", ".join(f"h.{name}" for name in WEBHOOK_FIELDS)}, {", ".join(f"d.{name}" for name in DELIVERY_FIELDS)}
FROM due
CROSS JOIN LATERAL (
  SELECT * FROM webhook_deliveries WHERE id = ANY (ARRAY[due.id]) AND next_attempt_at <= $1::bigint ORDER BY id
  FOR UPDATE SKIP LOCKED
) AS d
CROSS JOIN LATERAL (SELECT * FROM webhooks WHERE id = ANY (ARRAY[d.webhook_id]) ORDER BY id LIMIT 1) AS h
ORDER BY d.next_attempt_at, d.seq
"""  # noqa: S608
_LEASE: Final = (
    "UPDATE webhook_deliveries SET attempts = attempts + 1, next_attempt_at = $2 WHERE id = ANY ($1::text[])"
)
_HOOKED: Final = "SELECT DISTINCT project_id FROM webhooks WHERE disabled_at IS NULL LIMIT $1"
_PRUNE: Final = (
    "WITH gone AS (DELETE FROM webhook_deliveries WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM webhook_deliveries WHERE created_at < $1::bigint"
    " AND (next_attempt_at IS NULL OR next_attempt_at < $2::bigint) LIMIT $3 FOR UPDATE SKIP LOCKED"
    ")) RETURNING 1) SELECT count(*) FROM gone"
)
_UNDER_WAY: Final = (
    "SELECT l.virtualtransaction FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
    " WHERE l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid()"
    " AND a.datname = current_database() AND a.application_name = 'runstead'"
)
_DAY_MS: Final = 86_400_000


class Telling(NamedTuple):
    """A change of a run that is an event."""

    run: Run
    event_type: str
    now: int


async def tell(connection: Connection, told: Sequence[Telling]) -> None:
    """Store the deliveries of runs' changes, in their transaction."""
    rows = await connection.fetch(_OF_PROJECTS, list({one.run.project_id for one in told}))
    hooks = [to_webhook(row) for row in rows]
    made = [
        delivery
        for run, event_type, now in told
        for delivery in deliveries(
            run, event_type, (hook for hook in hooks if hook.project_id == run.project_id), now
        )
    ]
    if made:
        await _add(connection, made)


async def _add(connection: Connection, made: Iterable[Delivery]) -> list[int]:
    rows = [[getattr(delivery, name) for name in _STORED] for delivery in made]
    return [row[0] for row in await connection.fetch(_ADD, *columns_of(rows))]


async def _held(connection: Connection, project_id: str, webhook_id: str) -> Webhook:
    row = await connection.fetchrow(f"{_BY_ID} FOR UPDATE", webhook_id, project_id)
    if row is None:
        raise not_found("Webhook")
    return to_webhook(row)


class PostgresWebhooks:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(
        self, webhook: Webhook, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Webhook:
        async def job(connection: Connection, _now: int) -> Webhook:
            await connection.execute(Q["lock_names"], WEBHOOKS_OF, [webhook.project_id])
            guard(await connection.fetchval(_COUNT, webhook.project_id))
            await connection.execute(_INSERT, *from_webhook(webhook))
            return webhook

        return await self._seen(self._writer.do(idempotent(job, idempotency)))

    async def _seen(self, write: Awaitable[Webhook]) -> Webhook:
        """The write's result, or the answer that it replays, once nobody overlooks it any more."""
        try:
            return await write
        finally:
            await self._seen_by_all()

    async def _seen_by_all(self) -> None:
        """Wait until every transaction has ended that may have begun before this moment, for a while."""

        async def look(connection: Connection) -> set[str]:
            return {row[0] for row in await connection.fetch(_UNDER_WAY)}

        until = time.monotonic() + limits.webhook_settle_s
        older = await self._readers.do(look)
        while older and time.monotonic() < until:
            await asyncio.sleep(0.01)
            older &= await self._readers.do(look)

    async def get(self, project_id: str, webhook_id: str) -> Webhook | None:
        row = await self._readers.row(_BY_ID, webhook_id, project_id)
        return None if row is None else to_webhook(row)

    async def page(self, project_id: str, limit: int) -> list[Webhook]:
        return [to_webhook(row) for row in await self._readers.rows(_PAGE, project_id, limit)]

    async def change(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideWebhook,
        idempotency: IdempotencyRecord | None = None,
    ) -> Webhook:
        async def job(connection: Connection, now: int) -> Webhook:
            old = await _held(connection, project_id, webhook_id)
            new = decide(old, now)
            await rewrite(connection, "webhooks", old, new)
            return new

        return await self._seen(self._writer.do(idempotent(job, idempotency)))

    async def delete(self, project_id: str, webhook_id: str) -> bool:
        async def job(connection: Connection, _now: int) -> bool:
            known = await connection.fetchval(_DELETE, webhook_id, project_id) is not None
            if known:
                await connection.execute(_DELETE_LOG, webhook_id)
            return known

        return await self._writer.do(job)

    async def add(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideDelivery,
        idempotency: IdempotencyRecord | None = None,
    ) -> Delivery:
        async def job(connection: Connection, now: int) -> Delivery:
            made = decide(await _held(connection, project_id, webhook_id), now)
            (seq,) = await _add(connection, [made])
            return replace(made, seq=seq)

        return await self._writer.do(idempotent(job, idempotency))

    async def settle(
        self,
        project_id: str,
        webhook_id: str,
        delivery_id: str,
        decide: DecidePair,
        idempotency: IdempotencyRecord | None = None,
    ) -> Pair:
        async def job(connection: Connection, now: int) -> Pair:
            webhook = await _held(connection, project_id, webhook_id)
            row = await connection.fetchrow(_ONE, delivery_id, webhook_id)
            if row is None:
                raise not_found("Delivery")
            delivery = Delivery(*row)
            pair = decide(webhook, delivery, now)
            await rewrite(connection, "webhooks", webhook, pair[0])
            await rewrite(connection, "webhook_deliveries", delivery, pair[1])
            return pair

        return await self._writer.do(idempotent(job, idempotency))

    async def delivery(self, project_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        row = await self._readers.row(_READ_ONE, delivery_id, webhook_id)
        found = None if row is None else Delivery(*row)
        return found if found is not None and found.project_id == project_id else None

    async def deliveries(
        self,
        project_id: str,
        webhook_id: str,
        limit: int,
        before: int | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[Delivery]:
        rows = await self._readers.rows(_LOG, webhook_id, project_id, before, status, limit)
        return [Delivery(*row) for row in rows]

    async def take(self, limit: int, per_webhook: int, busy: Sequence[str], lease_ms: int) -> list[Pair]:
        """Every replica may call it at the same time: each gets others."""

        async def job(connection: Connection, now: int) -> list[Pair]:
            rows = await connection.fetch(_TAKE, now, limit, per_webhook, list(busy))
            width = len(WEBHOOK_FIELDS)
            found = [(to_webhook(row[:width]), Delivery(*row[width:])) for row in rows]
            if found:
                await connection.execute(_LEASE, [one.id for _, one in found], now + lease_ms)
            return [
                (hook, replace(one, attempts=one.attempts + 1, next_attempt_at=now + lease_ms))
                for hook, one in found
            ]

        return await self._writer.do(job)

    async def hooked(self, limit: int) -> list[str]:
        return [row[0] for row in await self._readers.rows(_HOOKED, limit)]

    async def prune(self, age_ms: int, limit: int) -> int:
        async def job(connection: Connection, now: int) -> int:
            return int(await connection.fetchval(_PRUNE, now - age_ms, now - _DAY_MS, limit))

        return await self._writer.do(job)
