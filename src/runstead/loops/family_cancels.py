"""Cancels the descendants of cancelled runs that a request or a crashed server left active."""

from runstead.commands.app import App
from runstead.commands.runs import cancel_descendants
from runstead.core import limits


async def finish_family_cancels(app: App) -> int:
    """Cancel a bounded number of descendants of each of the oldest cancelled runs. Returns their number."""
    count = 0
    for seq in await app.store.runs.cancelling(limits.family_cancels_per_tick_max):
        count += await cancel_descendants(app, seq, 16)
    return count
