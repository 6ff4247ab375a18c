"""Webhooks and their deliveries in SQLite."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.runs.run import Run
from runstead.core.webhooks.event import deliveries, event_of
from runstead.core.webhooks.webhook import (
    DELIVERY_FIELDS,
    WEBHOOK_FIELDS,
    DecidePair,
    Delivery,
    DeliveryStatus,
    Pair,
    Webhook,
)
from runstead.engines.sql.columns import from_webhook, to_webhook
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import encode, rewrite
from runstead.engines.sqlite.run_cache import WriterCache
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Count, DecideDelivery, DecideWebhook

# Statements are put together from our own names alone.
_HOOK: Final = ", ".join(WEBHOOK_FIELDS)
_OF_PROJECT: Final = f"SELECT {_HOOK} FROM webhooks WHERE project_id = ? AND disabled_at IS NULL"  # noqa: S608
_PAGE: Final = f"SELECT {_HOOK} FROM webhooks WHERE project_id = ? ORDER BY created_at, id LIMIT ?"  # noqa: S608
_BY_ID: Final = f"SELECT {_HOOK} FROM webhooks WHERE id = ? AND project_id = ?"  # noqa: S608
_INSERT: Final = f"INSERT INTO webhooks ({_HOOK}) VALUES ({', '.join('?' for _ in WEBHOOK_FIELDS)})"  # noqa: S608
_DELIVERY: Final = ", ".join(DELIVERY_FIELDS)
_SHOWN: Final = ", ".join("x'' AS payload" if name == "payload" else name for name in DELIVERY_FIELDS)
_STORED: Final = tuple(name for name in DELIVERY_FIELDS if name != "seq")
_ADD: Final = (
    f"INSERT INTO webhook_deliveries ({', '.join(_STORED)}) VALUES ({', '.join('?' for _ in _STORED)})"  # noqa: S608
)
_ONE: Final = f"SELECT {_DELIVERY} FROM webhook_deliveries WHERE id = ? AND webhook_id = ?"  # noqa: S608
_LOG: Final = (
    f"SELECT {_SHOWN} FROM webhook_deliveries "  # noqa: S608
    "WHERE webhook_id = ?1 AND project_id = ?2 AND (?3 IS NULL OR seq < ?3) AND (?4 IS NULL OR status = ?4) "
    "ORDER BY seq DESC LIMIT ?5"
)
_DUE_OF: Final = (
    f"SELECT {_DELIVERY} FROM webhook_deliveries WHERE webhook_id = ? AND next_attempt_at <= ? "  # noqa: S608
    "ORDER BY next_attempt_at, seq LIMIT ?"
)
# From one webhook to the next within the index, however many deliveries each has.
_WAITED_FOR: Final = f"""
WITH RECURSIVE steps (webhook_id) AS (
  SELECT min(webhook_id) FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(d.webhook_id) FROM webhook_deliveries AS d
          WHERE d.next_attempt_at IS NOT NULL AND d.webhook_id > steps.webhook_id)
  FROM steps WHERE steps.webhook_id IS NOT NULL
)
SELECT {_HOOK} FROM steps JOIN webhooks ON webhooks.id = steps.webhook_id
WHERE disabled_at IS NULL AND id NOT IN (SELECT value FROM json_each(?))
"""  # noqa: S608
_HOOKED: Final = "SELECT DISTINCT project_id FROM webhooks WHERE disabled_at IS NULL LIMIT ?"
_PRUNE: Final = (
    "DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries WHERE created_at < ? "
    "AND (next_attempt_at IS NULL OR next_attempt_at < ?) LIMIT ?)"
)
_DAY_MS: Final = 86_400_000


def _load(connection: sqlite3.Connection, project_id: str, webhook_id: str) -> Webhook | None:
    row = connection.execute(_BY_ID, (webhook_id, project_id)).fetchone()
    return None if row is None else to_webhook(row)


def _held(connection: sqlite3.Connection, project_id: str, webhook_id: str) -> Webhook:
    found = _load(connection, project_id, webhook_id)
    if found is None:
        raise not_found("Webhook")
    return found


def _add(connection: sqlite3.Connection, delivery: Delivery) -> int:
    seq = connection.execute(_ADD, [getattr(delivery, name) for name in _STORED]).lastrowid
    assert seq is not None
    return seq


def tell(connection: sqlite3.Connection, cache: WriterCache, old: Run | None, new: Run, now: int) -> None:
    """Store the deliveries of a run's change, in its transaction."""
    if new.project_id in cache.without_webhooks:
        return
    event = event_of(old, new)
    if event is None:
        return
    rows = connection.execute(_OF_PROJECT, (new.project_id,)).fetchall()
    if not rows:
        cache.without_webhooks.add(new.project_id)
    for delivery in deliveries(new, event, map(to_webhook, rows), now) if rows else ():
        _add(connection, delivery)


class SqliteWebhooks:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(
        self, webhook: Webhook, guard: Count, idempotency: IdempotencyRecord | None = None
    ) -> Webhook:
        def job(connection: sqlite3.Connection, _now: int) -> Webhook:
            sql = "SELECT count(*) FROM webhooks WHERE project_id = ?"
            guard(connection.execute(sql, (webhook.project_id,)).fetchone()[0])
            connection.execute(_INSERT, from_webhook(webhook))
            return webhook

        return await self._writer.do(idempotent(job, idempotency))

    async def get(self, project_id: str, webhook_id: str) -> Webhook | None:
        return await self._readers.do(lambda c: _load(c, project_id, webhook_id))

    async def page(self, project_id: str, limit: int) -> list[Webhook]:
        return await self._readers.do(
            lambda c: [to_webhook(row) for row in c.execute(_PAGE, (project_id, limit))]
        )

    async def change(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideWebhook,
        idempotency: IdempotencyRecord | None = None,
    ) -> Webhook:
        def job(connection: sqlite3.Connection, now: int) -> Webhook:
            old = _held(connection, project_id, webhook_id)
            new = decide(old, now)
            rewrite(connection, "webhooks", old, new)
            return new

        return await self._writer.do(idempotent(job, idempotency))

    async def delete(self, project_id: str, webhook_id: str) -> bool:
        def job(connection: sqlite3.Connection, _now: int) -> bool:
            sql = "DELETE FROM webhooks WHERE id = ? AND project_id = ?"
            known = connection.execute(sql, (webhook_id, project_id)).rowcount == 1
            if known:
                connection.execute("DELETE FROM webhook_deliveries WHERE webhook_id = ?", (webhook_id,))
            return known

        return await self._writer.do(job)

    async def add(
        self,
        project_id: str,
        webhook_id: str,
        decide: DecideDelivery,
        idempotency: IdempotencyRecord | None = None,
    ) -> Delivery:
        def job(connection: sqlite3.Connection, now: int) -> Delivery:
            made = decide(_held(connection, project_id, webhook_id), now)
            return msgspec.structs.replace(made, seq=_add(connection, made))

        return await self._writer.do(idempotent(job, idempotency))

    async def settle(
        self,
        project_id: str,
        webhook_id: str,
        delivery_id: str,
        decide: DecidePair,
        idempotency: IdempotencyRecord | None = None,
    ) -> Pair:
        def job(connection: sqlite3.Connection, now: int) -> Pair:
            webhook = _held(connection, project_id, webhook_id)
            row = connection.execute(_ONE, (delivery_id, webhook_id)).fetchone()
            if row is None:
                raise not_found("Delivery")
            delivery = Delivery(*row)
            pair = decide(webhook, delivery, now)
            rewrite(connection, "webhooks", webhook, pair[0])
            rewrite(connection, "webhook_deliveries", delivery, pair[1])
            return pair

        return await self._writer.do(idempotent(job, idempotency))

    async def delivery(self, project_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        def read(connection: sqlite3.Connection) -> Delivery | None:
            row = connection.execute(_ONE, (delivery_id, webhook_id)).fetchone()
            found = None if row is None else Delivery(*row)
            return found if found is not None and found.project_id == project_id else None

        return await self._readers.do(read)

    async def deliveries(
        self,
        project_id: str,
        webhook_id: str,
        limit: int,
        before: int | None = None,
        status: DeliveryStatus | None = None,
    ) -> list[Delivery]:
        given = (webhook_id, project_id, before, status, limit)
        return await self._readers.do(lambda c: [Delivery(*row) for row in c.execute(_LOG, given)])

    async def take(self, limit: int, per_webhook: int, busy: Sequence[str], lease_ms: int) -> list[Pair]:
        def job(connection: sqlite3.Connection, now: int) -> list[Pair]:
            due: list[Pair] = []
            for row in connection.execute(_WAITED_FOR, (encode(busy).decode(),)).fetchall():
                webhook = to_webhook(row)
                mine = connection.execute(_DUE_OF, (webhook.id, now, min(per_webhook, limit)))
                due += [(webhook, Delivery(*one)) for one in mine]
            due.sort(key=lambda pair: (pair[1].next_attempt_at, pair[1].seq))
            taken = [
                (
                    hook,
                    msgspec.structs.replace(one, attempts=one.attempts + 1, next_attempt_at=now + lease_ms),
                )
                for hook, one in due[:limit]
            ]
            connection.executemany(
                "UPDATE webhook_deliveries SET attempts = ?, next_attempt_at = ? WHERE seq = ?",
                [(one.attempts, one.next_attempt_at, one.seq) for _, one in taken],
            )
            return taken

        return await self._writer.do(job)

    async def hooked(self, limit: int) -> list[str]:
        return await self._readers.do(lambda c: [row[0] for row in c.execute(_HOOKED, (limit,))])

    async def prune(self, age_ms: int, limit: int) -> int:
        return await self._writer.do(
            lambda c, now: c.execute(_PRUNE, (now - age_ms, now - _DAY_MS, limit)).rowcount
        )
