"""Forgets the answers kept for idempotency keys once they are a day old, what was delivered a week ago, and
browsers whose session is over.
"""

from runstead.commands.app import App
from runstead.core import limits


async def prune(app: App) -> int:
    """One bounded look; how many answers were dropped."""
    return await app.store.forget(limits.idempotency_s * 1000, limits.idempotency_records_per_tick_max)


async def prune_deliveries(app: App) -> int:
    """One bounded look; how many deliveries were dropped."""
    return await app.store.webhooks.prune(limits.delivery_kept_ms, limits.deliveries_expired_max)


async def prune_browsers(app: App) -> int:
    """One bounded look; how many sessions were dropped."""
    return await app.store.browser_sessions.prune(limits.browser_sessions_expired_max)
