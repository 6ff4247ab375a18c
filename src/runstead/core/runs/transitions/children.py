"""A run that waits for a run right below it.

The one below is marked first, then the one above waits. When a marked run ends it becomes due at once, so that the
referee finds it and tells the one above: a crash between any two of these steps is made up for by the next look.
"""

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs import event
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions.machine import WAITING, annotate, fail, log_full
from runstead.core.runs.transitions.wait import resumed


def mark_awaited(child: Run, *, now: int) -> Transition:
    """Mark a run whose end is waited for; unchanged where it is marked, or has ended already."""
    if child.terminal or child.awaited_at is not None:
        return Transition(child, duplicate=True)
    return Transition(replace(child, version=child.version + 1, awaited_at=now))


def postpone_resume(child: Run, *, now: int) -> Transition:
    """An ended one that the referee has found: should telling come to nothing, it is found again, ever more seldom."""
    assert child.completed_at is not None
    pause = max(limits.awaited_retry_ms, now - child.completed_at)
    return Transition(annotate(child, awaited_at=now + pause))


def clear_awaited(child: Run) -> Transition:
    """Nobody waits for it any more."""
    return Transition(child) if child.awaited_at is None else Transition(annotate(child, awaited_at=None))


def resume_parent(parent: Run, *, now: int, child: Run) -> Transition:
    """Let the run above go on, where it waits for this one: ended, or deleted where it had not ended when last if_match.
    `accepted`: whether it needs no more telling.
    """
    if parent.terminal:
        return Transition(parent)
    if parent.status is not WAITING or parent.waiting_run_id != child.run_id:
        return Transition(parent, accepted=False)
    if log_full(parent):
        return fail(
            parent, now, "EVENT_LOG_FULL", "The run's log has no place for the event of its child's end"
        )
    status = child.status.value if child.terminal else "deleted"
    result = {"run_id": child.run_id, "status": status}
    return Transition(
        resumed(parent, now), events=(event.resumed("run", parent.waiting_tool_call_id, result),)
    )
