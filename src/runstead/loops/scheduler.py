"""Makes the runs of schedules whose time has come."""

from runstead.commands.app import App
from runstead.commands.fire_schedules import fire_due
from runstead.core import limits
from runstead.ports import metrics


async def schedule(app: App) -> int:
    """A few bounded looks at what is due, soonest first; how many schedules were looked at."""
    looked = 0
    while looked < limits.scheduler_rows_per_tick_max:
        found = await fire_due(app)
        for firing in found:
            metrics.firings.labels(firing.fired.outcome).inc()
        looked += len(found)
        if len(found) < limits.scheduler_rows_max:
            break
    return looked
