"""Adds up what ended runs used and came to, for reports."""

from runstead.commands.app import App
from runstead.core import limits


async def roll_up(app: App) -> int:
    """One bounded look; runs that ended since the store keeps sums come before those that ended earlier."""
    most = limits.rollup_rows_per_tick_max
    return await app.store.rollups.fold(most) or await app.store.rollups.catch_up(most)
