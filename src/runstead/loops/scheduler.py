"""Fires due schedules."""

from runstead.commands.app import App
from runstead.commands.fire_schedules import fire_due
from runstead.core import limits
from runstead.ports import metrics


async def schedule(app: App) -> int:
    """Fire a bounded number of due schedules, earliest first. Returns the number of due schedules."""
    handled = 0
    while handled < limits.scheduler_rows_per_tick_max:
        firings = await fire_due(app)
        for firing in firings:
            metrics.firings.labels(firing.fired.outcome).inc()
        handled += len(firings)
        if len(firings) < limits.scheduler_rows_max:
            break
    return handled
