"""Adds ended runs to the sums that usage reports and charts read."""

from runstead.commands.app import App
from runstead.core import limits


async def roll_up(app: App) -> int:
    """Add a bounded number of runs that ended recently."""
    return await app.store.rollups.add_entries(limits.rollup_entries_per_tick_max)


async def catch_up(app: App) -> int:
    """Add a bounded number of runs that ended before the store kept sums. It is a loop of its own, because
    recent runs never stop arriving.
    """
    return await app.store.rollups.catch_up(limits.rollup_rows_per_tick_max)
