"""Deletes expired records: idempotency records after a day, deliveries after a week, browser sessions, events of the
bus, and entries of the audit log.
"""

from runstead.commands import audit
from runstead.commands.app import App
from runstead.core import limits


async def prune(app: App) -> int:
    """Delete a bounded number of old idempotency records. Returns their number."""
    return await app.store.forget(limits.idempotency_s * 1000, limits.idempotency_records_per_tick_max)


async def prune_deliveries(app: App) -> int:
    """Delete a bounded number of old deliveries. Returns their number."""
    return await app.store.webhooks.prune(limits.delivery_kept_ms, limits.deliveries_expired_max)


async def prune_browsers(app: App) -> int:
    """Delete a bounded number of expired browser sessions. Returns their number."""
    return await app.store.browser_sessions.prune(limits.browser_sessions_expired_max)


async def prune_events(app: App) -> int:
    """Delete a bounded number of old events of the bus. Returns their number."""
    return await app.store.bus_events.prune(limits.bus_events_expired_max)


async def prune_audit(app: App, days: int) -> int:
    """Delete a bounded number of entries of the audit log that are older than `days`. Returns their number."""
    return await audit.expire(app, days * 86_400_000)
