"""Attempts: claim, renew and release, and what happens when a deadline passes."""

from collections.abc import Collection
from typing import Any, Final

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import event
from runstead.core.runs.retry import attempts_left, backoff_ms
from runstead.core.runs.run import Run
from runstead.core.runs.transition import AttemptOutcome, Transition
from runstead.core.runs.transitions.children import postpone_resume
from runstead.core.runs.transitions.machine import (
    NO_LEASE,
    PENDING,
    RUNNING,
    WAITING,
    Fence,
    attempt_ended,
    closed_input,
    fail,
    log_full,
    parked,
    rewrite,
    stopped,
)
from runstead.core.runs.transitions.wait import resumed


def claimable(run: Run, now: int) -> bool:
    """Whether a worker can claim the run now: pending or running, without a lease, and available in the queue."""
    return (
        run.status in (PENDING, RUNNING)
        and run.lease_expires_at is None
        and run.claimable_at is not None
        and run.claimable_at <= now
    )


def claim(
    run: Run,
    *,
    now: int,
    worker: str,
    lease_ms: int,
    token: str,
    version: str | None = None,
    pinned_targets: Collection[str] = (),
) -> Transition:
    """Start the next attempt. The first worker with a `version` gives it to the run, and pins a run of its
    `pinned_targets` to it.

    The caller holds the lock of the row and has checked that the run is claimable.
    """
    assert claimable(run, now), run.run_id
    assert run.pinned_to in (None, version), run.run_id
    first: dict[str, Any] = {}
    if version is not None and run.worker_version is None:
        first = {"worker_version": version, "pinned": run.pinned or run.target in pinned_targets or None}
    return Transition(
        rewrite(
            run,
            now,
            status=RUNNING,
            started_at=run.started_at if run.started_at is not None else now,
            available_at=None,
            attempt=run.attempt + 1,
            attempt_started_at=now,
            lease_owner=worker,
            lease_token=token,
            lease_ms=lease_ms,
            lease_expires_at=now + lease_ms,
            last_heartbeat_at=now,
            **first,
        )
    )


def renew(run: Run, *, now: int, lease_ms: int | None, worker: str | None, fence: Fence) -> Transition:
    """Extend the lease by `lease_ms` (None: by its previous length). `accepted` is False if the lease is
    lost.

    A lease that has expired but was not yet enforced still belongs to the worker.
    """
    held = not run.terminal and run.lease_token is not None and (worker is None or worker == run.lease_owner)
    if not held:
        return Transition(run, accepted=False)
    fence.check(run)
    length = lease_ms or run.lease_ms
    assert length is not None
    return Transition(
        rewrite(run, now, lease_ms=length, lease_expires_at=now + length, last_heartbeat_at=now),
    )


def release(
    run: Run,
    *,
    now: int,
    worker: str | None,
    fence: Fence,
    error: bytes | None,
    retry_after_ms: int | None,
    dice: float,
) -> Transition:
    """End the attempt without a completion, because the worker gives it back."""
    if run.lease_token is None or (worker is not None and worker != run.lease_owner):
        raise Error("ATTEMPT_SUPERSEDED", "The worker no longer holds this run")
    fence.check(run)
    if run.terminal:
        return stopped(run, now) if run.lease_expires_at is not None else Transition(run, accepted=False)
    if run.status is WAITING:
        return parked(run, now, error)
    return _lose(
        run, now, outcome="released", code="ATTEMPTS_EXHAUSTED", dice=dice, error=error, wait=retry_after_ms
    )


def enforce_deadlines(run: Run, *, now: int, dice: float) -> Transition:
    """Apply the deadline of the run that has passed. Changes nothing if none has passed."""
    if run.due_at is None or run.due_at > now:
        return Transition(run, accepted=False)
    if run.terminal:
        ended_lease = run.lease_expires_at is not None and run.lease_expires_at <= now
        return stopped(run, now) if ended_lease or run.awaited_at is None else postpone_resume(run, now=now)
    # `due_at` is the earliest deadline. It is applied even if others have passed when the loop sees the run.
    if run.status is WAITING:
        if run.due_at == run.resume_at:
            if log_full(run):
                return fail(run, now, "EVENT_LOG_FULL", "The run's log has no room for the timer's event")
            return Transition(resumed(run, now), events=(event.resumed("timer", run.waiting_tool_call_id),))
        if run.due_at == run.wait_expires_at:
            failed = fail(run, now, "WAIT_EXPIRED", "The wait expired before the run was resumed")
            return replace(failed, closed_input=closed_input(run, now, "expired"))
        return parked(run, now)
    if run.due_at == run.lease_expires_at:
        return _lose(run, now, outcome="lease_expired", code="LEASE_EXPIRED", dice=dice)
    return _lose(run, now, outcome="timeout", code="TIMEOUT", dice=dice)


_LOST: Final = {
    "lease_expired": "The worker's lease expired",
    "released": "The worker released the run",
    "timeout": "The attempt took longer than timeout_seconds",
    "parked": "",
    "paused": "",
    "dispatch_failed": "",
}


def _lose(
    run: Run,
    now: int,
    *,
    outcome: AttemptOutcome,
    code: str,
    dice: float,
    error: bytes | None = None,
    wait: int | None = None,
) -> Transition:
    lost = run.attempts_lost + 1
    timed_out = outcome == "timeout"
    default = limits.attempts_default_after_timeout if timed_out else limits.attempts_default_after_lease_loss
    ended = attempt_ended(run, now, outcome, error)
    if not attempts_left(lost, run.backoff_limit, default):
        failed = fail(replace(run, attempts_lost=lost), now, code, f"{_LOST[outcome]} and no attempt is left")
        return replace(failed, ended=ended)
    new = rewrite(
        run,
        now,
        status=PENDING,
        attempts_lost=lost,
        available_at=now + (backoff_ms(lost, dice) if wait is None else wait),
        **NO_LEASE,
    )
    return Transition(new, ended=ended)
