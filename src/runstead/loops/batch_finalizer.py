"""Brings batches to their end: cancels what is left of those that were called off, and creates the run that follows those
that are complete. Whatever a request or a server that died has left undone is found here.
"""

from runstead.commands.app import App
from runstead.commands.batches import finish_cancel, follow_up
from runstead.core import limits


async def finish(app: App) -> int:
    """One bounded look at batches that need a hand, oldest first; how many runs were cancelled or created."""
    count = 0
    for batch in await app.store.batches.unfinished(limits.batches_per_tick_max):
        if batch.follow_up_due:
            await follow_up(app, batch)
            count += 1
        else:
            count += await finish_cancel(app, batch, 1)
    return count
