"""Pause a run."""

from runstead.core.runs.run import Run
from runstead.core.runs.transition import EndedAttempt, Transition
from runstead.core.runs.transitions.machine import NO_LEASE, WAITING, not_active, rewrite
from runstead.core.runs.transitions.wait import already_waiting


def pause(run: Run, *, now: int) -> Transition:
    """Stop the run until it is resumed with an unpause. A second pause changes nothing.

    A worker that holds the run loses its lease at once and gets an error at its next renewal or append. The
    attempt does not count as lost. The claim after the unpause starts the next attempt. A queued run keeps
    its place in the queue. RUN_NOT_ACTIVE, RUN_ALREADY_WAITING.
    """
    if run.terminal:
        raise not_active(run)
    if run.paused:
        return Transition(run, duplicate=True)
    if run.status is WAITING or run.held:
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
        paused_available_at=run.claimable_at,
        **NO_LEASE,
    )
    return Transition(new, ended=ended)
