"""Webhook deliveries in the transactions of runs, in SQLite."""

import sqlite3

from runstead.core.runs.run import Run
from runstead.core.webhooks.event import deliveries
from runstead.core.webhooks.webhook import Webhook
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.steps import select, value
from runstead.engines.sqlite.related import DRIVER
from runstead.engines.sqlite.run_cache import WriterCache


def add_deliveries(
    connection: sqlite3.Connection, cache: WriterCache, run: Run, event_type: str, now: int
) -> None:
    """Store the deliveries of an event of a run, in the transaction of its change."""
    if run.project_id in cache.without_webhooks:
        return
    webhooks = DRIVER.run(connection, select("enabled_webhooks", Webhook, project_ids=[run.project_id]))
    if not webhooks:
        cache.without_webhooks.add(run.project_id)
        return
    for delivery in deliveries(run, event_type, webhooks, now):
        DRIVER.run(connection, value("add_delivery", **fields(delivery)))
