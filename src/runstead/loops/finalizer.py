"""Finishes what a request or a crashed server left unfinished: cancels of batches and families, and follow-up runs."""

from runstead.commands.app import App
from runstead.commands.batches import finish_cancel, follow_up
from runstead.commands.runs import cancel_descendants
from runstead.core import limits


async def finish_batches(app: App) -> int:
    """Finalize a bounded number of batches, oldest first: cancel the active runs of cancelled batches, and create the
    follow-up runs of completed ones.

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


async def finish_families(app: App) -> int:
    """Cancel a bounded number of active descendants of each of the oldest cancelled runs. Returns their number."""
    count = 0
    for seq in await app.store.runs.cancelling(limits.family_cancels_per_tick_max):
        count += await cancel_descendants(app, seq, 16)
    return count
