"""Firing the schedules whose time has come."""

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.runs import transitions
from runstead.core.runs.transition import Due, Fired
from runstead.ports.store import WrittenFiring

log = structlog.get_logger(__name__)


async def fire_due(app: App) -> list[WrittenFiring]:
    """One bounded look at what is due, soonest first."""
    found = await app.store.runs.fire(limits.scheduler_rows_max, _decide)
    for firing in found:
        for written in firing.written:
            app.publish(written)
    return found


def _decide(due: Due) -> Fired:
    """One schedule that cannot be decided must not hold back those behind it."""
    try:
        return transitions.fire_due(due)
    except Exception:
        log.exception("a schedule could not be fired", schedule_id=due.schedule.id)
        return transitions.pause_broken(due, "Something went wrong in the server at a firing; it was logged")
