"""Holding a run back from claims."""

from runstead.core.runs.run import Run
from runstead.core.runs.transition import EndedAttempt, Transition
from runstead.core.runs.transitions.machine import NO_LEASE, WAITING, not_active, rewrite
from runstead.core.runs.transitions.wait import already_waiting


def pause(run: Run, *, now: int) -> Transition:
    """Stop the run until an unpause, which is a resume. A paused run stays as it is.

    A worker that holds it loses its lease at once, and learns of that at its next renewal or append; the attempt is
    not counted as lost. Whoever claims the run after the unpause begins the next one. A run that was in the queue
    keeps its place there.
    """
    if run.terminal:
        raise not_active(run)
    if run.paused:
        return Transition(run, duplicate=True)
    if run.status is WAITING:
        raise already_waiting(run)
    ended = None
    if run.lease_token is not None:
        assert run.attempt_started_at is not None
        ended = EndedAttempt(run.attempt, run.lease_owner, run.attempt_started_at, now, "paused")
    new = rewrite(
        run,
        now,
        status=WAITING,
        waiting_reason="pause",
        available_at=None,
        paused_available_at=run.available_at,
        **NO_LEASE,
    )
    return Transition(new, ended=ended)
