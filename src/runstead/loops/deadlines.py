"""Enforces deadlines: expired leases, timeouts of attempts, timers and expired waits."""

from runstead.commands.app import App
from runstead.commands.runs import dice
from runstead.commands.waits import resume_parent
from runstead.core import limits
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.ports import metrics


async def enforce_deadlines(app: App) -> int:
    """Enforce a bounded number of deadlines, earliest first. Returns the number of due runs."""

    def decide(run: Run, now: int) -> Transition:
        return transitions.enforce_deadlines(run, now=now, dice=dice())

    found = await app.store.runs.enforce_deadlines(limits.deadlines_per_tick_max, decide)
    for written in found:
        if written.before is not None and written.before.terminal and written.run.awaited_at is not None:
            await resume_parent(app, written.run)
            continue
        metrics.deadlines_enforced.labels(_outcome(written.transition)).inc()
        app.publish(written)
    return len(found)


def _outcome(transition: Transition) -> str:
    if transition.ended is not None:
        return transition.ended.outcome
    return transition.run.status.value
