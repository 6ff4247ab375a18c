"""A parent run that waits for the end of a child.

First the child is marked as awaited, then the parent waits. An awaited child that ends is due at once, so
that the deadlines loop finds it and resumes the parent. After a crash between two steps, the next tick of the
loop continues.
"""

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs import event
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions.machine import WAITING, annotate, fail, log_full
from runstead.core.runs.transitions.wait import resumed


def mark_awaited(child: Run, *, now: int) -> Transition:
    """Mark the child as awaited. Changes nothing if it is marked or has ended."""
    if child.terminal or child.awaited_at is not None:
        return Transition(child, duplicate=True)
    return Transition(replace(child, version=child.version + 1, awaited_at=now))


def postpone_resume(child: Run, *, now: int) -> Transition:
    """Postpone the next look at an ended child, in case its parent cannot be resumed now.

    The pause grows each time.
    """
    assert child.completed_at is not None
    pause = max(limits.awaited_retry_ms, now - child.completed_at)
    return Transition(annotate(child, awaited_at=now + pause))


def clear_awaited(child: Run) -> Transition:
    """Remove the mark: no parent waits for the child any longer."""
    return Transition(child) if child.awaited_at is None else Transition(annotate(child, awaited_at=None))


def resume_parent(parent: Run, *, now: int, child: Run) -> Transition:
    """Resume the parent if it waits for this child, which has ended or was deleted.

    `accepted` is False if the parent does not wait for the child.
    """
    if parent.terminal:
        return Transition(parent)
    if parent.status is not WAITING or parent.waiting_run_id != child.run_id:
        return Transition(parent, accepted=False)
    if log_full(parent):
        return fail(
            parent, now, "EVENT_LOG_FULL", "The run's log has no room for the event that its child has ended"
        )
    status = child.status.value if child.terminal else "deleted"
    result = {"run_id": child.run_id, "status": status}
    return Transition(
        resumed(parent, now), events=(event.resumed("run", parent.waiting_tool_call_id, result),)
    )
