"""Firing the schedules whose time has come."""

import structlog

from runstead import limits, transitions
from runstead.commands.app import App
from runstead.store import WrittenFiring
from runstead.transition import Due, Fired

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
        return transitions.halted(due, "Something went wrong in the server at a firing; it was logged")
