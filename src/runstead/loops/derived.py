"""Maintains what the store derives from runs: the index of filtered lists, and the sums of usage reports and charts."""

from runstead.commands.app import App
from runstead.core import limits
from runstead.ports import run_metrics


async def index(app: App) -> int:
    """Index a bounded number of new and changed runs. Returns the number of runs read."""
    return await app.store.run_index.advance()


async def roll_up(app: App) -> int:
    """Add a bounded number of runs that ended recently to the sums."""
    return await app.store.rollups.add_entries(limits.rollup_entries_per_tick_max, run_metrics.count_tokens)


async def catch_up(app: App) -> int:
    """Add a bounded number of runs that ended before the store kept sums. It is a loop of its own, because
    recent runs never stop arriving.
    """
    return await app.store.rollups.catch_up(limits.rollup_rows_per_tick_max)
