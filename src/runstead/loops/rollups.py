"""Adds ended runs to the sums that usage reports and charts read."""

from runstead.commands.app import App
from runstead.core import limits


async def roll_up(app: App) -> int:
    """Add a bounded number of ended runs. Recent runs come before the backlog of a store of an older version."""
    most = limits.rollup_rows_per_tick_max
    return await app.store.rollups.fold(most) or await app.store.rollups.catch_up(most)
