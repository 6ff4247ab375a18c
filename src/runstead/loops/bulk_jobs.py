"""Works on bulk jobs."""

from runstead.commands.app import App
from runstead.commands.bulk_jobs import work
from runstead.core import limits


async def advance_bulk_jobs(app: App) -> int:
    """Handle a bounded number of runs of each of a bounded number of jobs. Returns the number of runs.

    Jobs that advanced longest ago come first, so that all of them advance.
    """
    jobs = await app.store.bulk_jobs.running(limits.bulk_jobs_per_tick_max)
    return sum([await work(app, job) for job in jobs])
