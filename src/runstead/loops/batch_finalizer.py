"""Finalizes batches: cancels the active runs of cancelled batches, and creates the follow-up runs of
completed batches.

It also finds what a request or a crashed server left unfinished.
"""

from runstead.commands.app import App
from runstead.commands.batches import finish_cancel, follow_up
from runstead.core import limits


async def finish(app: App) -> int:
    """Finalize a bounded number of batches, oldest first.

    Returns the number of runs that were cancelled or created.
    """
    count = 0
    for batch in await app.store.batches.unfinished(limits.batches_per_tick_max):
        if batch.follow_up_due:
            await follow_up(app, batch)
            count += 1
        else:
            count += await finish_cancel(app, batch, 1)
    return count
