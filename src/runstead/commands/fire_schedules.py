"""Fire due schedules. Called by a loop."""

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.runs import transitions
from runstead.core.runs.transition import Due, Fired
from runstead.ports.store import WrittenFiring

log = structlog.get_logger(__name__)


async def fire_due(app: App) -> list[WrittenFiring]:
    """Fire at most `limits.scheduler_rows_max` due schedules, in the order of their times."""
    found = await app.store.runs.fire(limits.scheduler_rows_max, _decide)
    for firing in found:
        for written in firing.written:
            app.publish(written)
    return found


def _decide(due: Due) -> Fired:
    """Decide one firing. A schedule whose rule fails is halted, so that it delays no other schedule."""
    try:
        return transitions.fire_due(due)
    except Exception:
        log.exception("a schedule could not be fired", schedule_id=due.schedule.id)
        return transitions.pause_broken(due, "The server failed to fire the schedule and logged the error")
