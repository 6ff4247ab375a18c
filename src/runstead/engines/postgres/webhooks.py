"""Webhook deliveries in the transactions of runs, in PostgreSQL."""

from collections.abc import Sequence
from typing import NamedTuple

from runstead.core.runs.run import Run
from runstead.core.webhooks.event import deliveries
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import DRIVER
from runstead.engines.sql.steps import execute, select


class RunEvent(NamedTuple):
    """A change of a run that webhooks may subscribe to."""

    run: Run
    event_type: str
    now: int


async def add_deliveries(connection: Connection, events: Sequence[RunEvent]) -> None:
    """Store the deliveries of events of runs, in the transaction of their changes."""
    project_ids = list({event.run.project_id for event in events})
    webhooks = await DRIVER.run(connection, select("enabled_webhooks", Webhook, project_ids=project_ids))
    new = [
        delivery
        for run, event_type, now in events
        for delivery in deliveries(
            run, event_type, (each for each in webhooks if each.project_id == run.project_id), now
        )
    ]
    if new:
        columns = {name: [getattr(each, name) for each in new] for name in Delivery.__struct_fields__}
        await DRIVER.run(connection, execute("add_deliveries", None, **columns))
