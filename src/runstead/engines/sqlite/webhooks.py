"""Webhook deliveries in the transactions of runs, in SQLite."""

import sqlite3

from runstead.core.runs.run import Run
from runstead.core.webhooks.event import deliveries, event_of
from runstead.core.webhooks.webhook import Webhook
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import select, value
from runstead.engines.sqlite.related import DRIVER
from runstead.engines.sqlite.run_cache import WriterCache


def tell(connection: sqlite3.Connection, cache: WriterCache, old: Run | None, new: Run, now: int) -> None:
    """Store the deliveries of a run's change, in its transaction."""
    if new.project_id in cache.without_webhooks:
        return
    event = event_of(old, new)
    if event is None:
        return
    webhooks = DRIVER.run(connection, select("enabled_webhooks", Webhook, project_ids=[new.project_id]))
    if not webhooks:
        cache.without_webhooks.add(new.project_id)
        return
    for delivery in deliveries(new, event, webhooks, now):
        DRIVER.run(connection, value("add_delivery", **fields(delivery)))
