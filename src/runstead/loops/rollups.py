"""Adds up what ended runs used and came to, for reports."""

from runstead.commands.app import App
from runstead.core import limits


async def roll_up(app: App) -> int:
    """One bounded look at what runs left that ended."""
    return await app.store.rollups.fold(limits.rollup_entries_per_tick_max)


async def catch_up(app: App) -> int:
    """One bounded look at runs that ended before the store kept sums. A loop of its own: runs end all the time."""
    return await app.store.rollups.catch_up(limits.rollup_rows_per_tick_max)
