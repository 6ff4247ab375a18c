"""Forgets the answers kept for idempotency keys once they are a day old."""

from runstead import limits
from runstead.commands.app import App


async def prune(app: App) -> int:
    """One bounded look; how many answers were dropped."""
    return await app.store.forget(limits.idempotency_s * 1000, limits.forgotten_per_tick_max)
